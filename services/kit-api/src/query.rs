//! Query strings: known parameters, each at most once.

use url::form_urlencoded;

/// The parameters of one request.
#[derive(Debug)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query string. An unknown parameter is refused like a misspelt one, which it mostly is; one that comes
    /// twice is refused because its two readers could each take another value.
    ///
    /// # Errors
    /// What is wrong, for [`Problem::invalid_query`](crate::Problem::invalid_query).
    pub fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, String> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(format!("there are no parameters but {}", known.join(", ")));
            }
            if parameters.iter().any(|(earlier, _)| *earlier == name) {
                return Err(format!("{name} must not come twice"));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The decoded value of a parameter, as `parse` reads it; `None` when it is not there.
    ///
    /// # Errors
    /// The name of the parameter and why `parse` refuses its value.
    pub fn get<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        match self.0.iter().find(|(present, _)| present == name) {
            Some((_, value)) => parse(value).map(Some).map_err(|reason| format!("{name} {reason}")),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(query: &str) -> Result<Option<String>, String> {
        Parameters::parse(Some(query), &["limit", "cursor"])?.get("limit", |value| Ok(value.to_owned()))
    }

    #[test]
    fn values_are_decoded() {
        assert_eq!(limit("cursor=x&limit=%35").unwrap().as_deref(), Some("5"));
        assert_eq!(limit("limit=").unwrap().as_deref(), Some(""));
        assert_eq!(limit("").unwrap(), None);
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        for refused in ["limt=5", "limit=5&limit=5", "limit=5&l%69mit=6", "offset=1&limit=5", "LIMIT=5"] {
            assert!(limit(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_refused_value_is_reported_under_its_name() {
        let parameters = Parameters::parse(Some("limit=x"), &["limit"]).unwrap();
        let refused = parameters.get("limit", |_| Err::<(), _>("must be a number".to_owned()));
        assert_eq!(refused.unwrap_err(), "limit must be a number");
    }
}
