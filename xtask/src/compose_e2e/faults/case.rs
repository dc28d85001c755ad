//! The faults, as data: what is done to the stack, and what its clients were promised meanwhile.

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL to the container's first process; the restart policy brings it back.
    Kill(&'static str),
    /// All processes stand still, connections stay open.
    Freeze { service: &'static str, seconds: u64 },
    /// Frozen and thawed many times: every answer comes late, none stays away. A limit on its processor time would say the same
    /// and is not there on every engine.
    Slow(&'static str),
    /// The container loses its network, and connections get no answer, not even a refusal.
    CutOff { service: &'static str, seconds: u64 },
    /// Every service in turn: stopped as a deployment stops it, started again.
    RollingRestart,
    /// The documented change of the token keys.
    RotateKeys,
    /// More requests at once than a client may send.
    Burst,
    /// Clients that send their request a byte at a time, beside the load.
    SlowClients,
    /// Clients that hang up before the answer.
    Leave,
}

/// A fault with its promise. In every case each order answered with 201 exists afterwards exactly once, no request takes
/// longer than its limit, and errors are problem documents.
#[derive(Debug)]
pub(crate) struct Case {
    pub(super) name: &'static str,
    pub(super) promise: &'static str,
    pub(super) fault: Fault,
    /// The error statuses that clients may see; 0 stands for no answer at all.
    pub(super) allowed: &'static [u16],
}

/// From the gateway while a service is away.
const SERVICE_AWAY: &[u16] = &[502, 503, 504];
/// While the gateway itself is away.
const GATEWAY_AWAY: &[u16] = &[0, 502, 503, 504];

pub(super) const CASES: [Case; 16] = [
    case("user-killed", Fault::Kill("user"), SERVICE_AWAY, "orders and lists go on, log-ins come back"),
    case("product-killed", Fault::Kill("product"), SERVICE_AWAY, "orders fail with 503 and come back"),
    case("order-killed", Fault::Kill("order"), SERVICE_AWAY, "orders under way are lost or whole, never half"),
    case("gateway-killed", Fault::Kill("gateway"), GATEWAY_AWAY, "clients lose their connections and come back"),
    case(
        "order-frozen",
        Fault::Freeze { service: "order", seconds: 12 },
        SERVICE_AWAY,
        "504 after UPSTREAM_TIMEOUT, no hang",
    ),
    case(
        "product-frozen",
        Fault::Freeze { service: "product", seconds: 4 },
        SERVICE_AWAY,
        "orders get 503 after PRODUCT_TIMEOUT",
    ),
    case("order-slow", Fault::Slow("order"), &[], "slower answers, no failed request"),
    case("database-killed", Fault::Kill("order-db"), SERVICE_AWAY, "a committed order survives SIGKILL"),
    case("database-frozen", Fault::Freeze { service: "order-db", seconds: 4 }, SERVICE_AWAY, "503, then as before"),
    case(
        "database-cut-off",
        Fault::CutOff { service: "order-db", seconds: 5 },
        SERVICE_AWAY,
        "dead connections are given up",
    ),
    case("user-database-killed", Fault::Kill("user-db"), SERVICE_AWAY, "only log-ins suffer"),
    case("rolling-restart", Fault::RollingRestart, GATEWAY_AWAY, "a restart of everything loses nothing"),
    case("keys-rotated", Fault::RotateKeys, SERVICE_AWAY, "tokens from before stay valid: no 401"),
    case("burst", Fault::Burst, &[429], "429 with Retry-After, which is true"),
    case("slow-clients", Fault::SlowClients, &[], "they are cut off, and nobody else notices"),
    case("leaving-clients", Fault::Leave, &[], "an order that nobody waited for exists once or not at all"),
];

const fn case(name: &'static str, fault: Fault, allowed: &'static [u16], promise: &'static str) -> Case {
    Case { name, promise, fault, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_no_case_allows_an_internal_error() {
        let names: std::collections::BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len());
        assert!(CASES.iter().all(|case| !case.allowed.contains(&500) && !case.promise.is_empty()));
    }
}
