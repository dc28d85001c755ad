//! The gateway's own variables.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use mini_kit::contract::{Contract, Loader};
use mini_kit::types::{HttpOrigin, Integer};

use crate::host::AllowedHosts;
use crate::origin::{ChainField, TrustedProxies};
use crate::target::Upstream;

/// What the gateway reads from its environment, beside what every service reads.
#[derive(Debug)]
pub struct Settings {
    /// `USER_URL` and its like: where the service behind each route is.
    pub upstreams: Upstreams,
    /// `UPSTREAM_*`.
    pub exchange: ExchangeLimits,
    /// `TRUSTED_PROXIES`.
    pub trusted_proxies: TrustedProxies,
    /// `TRUSTED_PROXIES_HEADER`.
    pub chain_field: ChainField,
    /// `ALLOWED_HOSTS`.
    pub allowed_hosts: AllowedHosts,
    /// `RATE_LIMIT_*`.
    pub rate_limit: RateLimit,
    /// `MAX_CONNECTIONS_PER_CLIENT`.
    pub max_connections_per_client: u32,
}

/// Where each upstream is.
#[derive(Debug)]
pub struct Upstreams {
    user: HttpOrigin,
    product: HttpOrigin,
    order: HttpOrigin,
}

impl Upstreams {
    /// The address of one of them.
    pub fn address(&self, upstream: Upstream) -> &HttpOrigin {
        match upstream {
            Upstream::User => &self.user,
            Upstream::Product => &self.product,
            Upstream::Order => &self.order,
        }
    }
}

/// What an exchange with an upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeLimits {
    /// To open a connection.
    pub connect_timeout: Duration,
    /// From the first byte of the request until the head of the response.
    pub timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Requests under way to one upstream at once.
    pub max_requests: usize,
}

/// How often one client may ask.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Requests in a second, in the long run.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
    /// Clients remembered.
    pub max_clients: NonZeroUsize,
}

impl Settings {
    /// Declares the variables.
    pub fn declare(contract: &mut Contract) -> Loader<Self> {
        let upstreams = declare_upstreams(contract);
        let exchange = declare_exchange(contract);
        let rate_limit = declare_rate_limit(contract);
        let trusted_proxies = contract.optional::<TrustedProxies>(
            "TRUSTED_PROXIES",
            "Addresses and CIDR blocks, separated by commas, of the proxies that are trusted to report the client's address.",
        );
        let chain_field = contract.with_default::<ChainField>(
            "TRUSTED_PROXIES_HEADER",
            "x-forwarded-for",
            "The header in which the trusted proxies name the client; they must not let a client's own one through.",
        );
        let allowed_hosts = contract.optional::<AllowedHosts>(
            "ALLOWED_HOSTS",
            "Host names without port, separated by commas, that requests may be for; any when unset.",
        );
        let max_connections_per_client = contract.with_default::<Integer<1, 1_000_000>>(
            "MAX_CONNECTIONS_PER_CLIENT",
            "128",
            "The most connections of one client (an IPv4 address or an IPv6 /64, trusted proxies excepted); more are closed.",
        );
        Box::new(move |values| Self {
            upstreams: upstreams(values),
            exchange: exchange(values),
            trusted_proxies: values.take(trusted_proxies).unwrap_or_default(),
            chain_field: values.take(chain_field),
            allowed_hosts: values.take(allowed_hosts).unwrap_or_default(),
            rate_limit: rate_limit(values),
            max_connections_per_client: values.take(max_connections_per_client).get(),
        })
    }
}

fn declare_upstreams(contract: &mut Contract) -> Loader<Upstreams> {
    let user = contract.required::<HttpOrigin>("USER_URL", "Where the user service is: http://HOST[:PORT].");
    let product = contract.required::<HttpOrigin>("PRODUCT_URL", "Where the product service is: http://HOST[:PORT].");
    let order = contract.required::<HttpOrigin>("ORDER_URL", "Where the order service is: http://HOST[:PORT].");
    Box::new(move |values| Upstreams {
        user: values.take(user),
        product: values.take(product),
        order: values.take(order),
    })
}

fn declare_exchange(contract: &mut Contract) -> Loader<ExchangeLimits> {
    let connect_timeout = contract.with_default::<Duration>(
        "UPSTREAM_CONNECT_TIMEOUT",
        "1s",
        "The longest that connecting to a service may take before the answer is 504.",
    );
    let timeout = contract.with_default::<Duration>(
        "UPSTREAM_TIMEOUT",
        "10s",
        "The longest that a service may take to begin its response before the answer is 504.",
    );
    let idle_timeout = contract.with_default::<Duration>(
        "UPSTREAM_IDLE_TIMEOUT",
        "4s",
        "How long an unused connection to a service is kept; it must be less than the service's HEADER_READ_TIMEOUT.",
    );
    let max_requests = contract.with_default::<Integer<1, 1_000_000>>(
        "UPSTREAM_MAX_REQUESTS",
        "256",
        "The most requests under way to one service at once; more are answered with 503.",
    );
    Box::new(move |values| ExchangeLimits {
        connect_timeout: values.take(connect_timeout),
        timeout: values.take(timeout),
        idle_timeout: values.take(idle_timeout),
        max_requests: values.take(max_requests).get() as usize,
    })
}

fn declare_rate_limit(contract: &mut Contract) -> Loader<RateLimit> {
    let per_second = contract.with_default::<Integer<1, 1_000_000>>(
        "RATE_LIMIT_PER_SECOND",
        "100",
        "Requests per second that one client (an IPv4 address or an IPv6 /64) may send in the long run.",
    );
    let burst = contract.with_default::<Integer<1, 1_000_000>>(
        "RATE_LIMIT_BURST",
        "200",
        "Requests that one client may send at once before the rate applies; more are answered with 429.",
    );
    let max_clients = contract.with_default::<Integer<1, 10_000_000>>(
        "RATE_LIMIT_MAX_CLIENTS",
        "65536",
        "Clients that the rate limit remembers, in about 100 bytes each; the least recent one makes room.",
    );
    // The contract refuses zero, so the lower bounds here only satisfy the types.
    Box::new(move |values| RateLimit {
        per_second: NonZeroU32::MIN.saturating_add(values.take(per_second).get() - 1),
        burst: NonZeroU32::MIN.saturating_add(values.take(burst).get() - 1),
        max_clients: NonZeroUsize::MIN.saturating_add(values.take(max_clients).get() as usize - 1),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::ffi::OsString;

    use mini_kit::config::FaultKind;

    use super::*;

    fn contract() -> (Contract, Loader<Settings>) {
        let mut contract = Contract::default();
        let loader = Settings::declare(&mut contract);
        (contract, loader)
    }

    fn load(pairs: &[(&str, &str)]) -> Result<Settings, mini_kit::config::Faults> {
        let environment: HashMap<_, _> = pairs.iter().copied().collect();
        let (contract, loader) = contract();
        let mut values = contract.load(&|name| environment.get(name).map(OsString::from))?;
        Ok(loader(&mut values))
    }

    #[test]
    fn the_declarations_have_no_mistakes() {
        assert_eq!(contract().0.mistakes(), Vec::<String>::new());
    }

    #[test]
    fn the_three_urls_are_all_that_is_required() {
        let faults = load(&[]).unwrap_err();
        assert_eq!(faults.names(FaultKind::Missing), ["USER_URL", "PRODUCT_URL", "ORDER_URL"]);
        let urls = [("USER_URL", "http://u:1"), ("PRODUCT_URL", "http://p/"), ("ORDER_URL", "http://[::1]:3")];
        let settings = load(&urls).unwrap();
        assert_eq!(settings.upstreams.address(Upstream::User).host(), "u:1");
        assert_eq!(settings.upstreams.address(Upstream::Product).host(), "p");
        assert_eq!(settings.upstreams.address(Upstream::Order).host(), "[::1]:3");
        assert_eq!(settings.rate_limit.burst.get(), 200);
    }

    #[test]
    fn a_name_that_a_cluster_sets_is_not_in_the_contract() {
        // Kubernetes sets NAME_PORT and NAME_SERVICE_HOST for every Service, and shells set USER.
        for name in contract().0.names() {
            assert!(!name.ends_with("_PORT") && !name.ends_with("_HOST") && name != "USER", "{name}");
        }
    }
}
