//! Lists of networks, to trust or to exempt.

use std::{error, fmt, net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv4Net};

/// List of networks, such as trusted proxies or exempt clients.
///
/// IPv4-mapped IPv6 addresses and networks (`::ffff:192.0.2.1`) count as the IPv4 ones.
///
/// ```
/// use tower_throttle::key::Networks;
///
/// let office = Networks::new(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])?;
/// assert!(office.contains([10, 1, 2, 3].into()));
/// assert!(!office.contains([192, 0, 2, 8].into()));
/// # Ok::<(), tower_throttle::key::InvalidNetwork>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Networks {
    nets: Arc<[IpNet]>,
}

/// Error of a text that is neither a network nor an address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidNetwork {
    /// The text.
    pub text: String,
}

// ===== impl Networks =====

impl Networks {
    /// Parses networks such as `10.0.0.0/8` or `2001:db8::/32`; an address is a network of one.
    ///
    /// # Errors
    ///
    /// Returns the first text that is neither.
    pub fn new<N>(nets: N) -> Result<Self, InvalidNetwork>
    where
        N: IntoIterator,
        N::Item: AsRef<str>,
    {
        let nets = nets.into_iter().map(|net| parse(net.as_ref()));
        Ok(Self {
            nets: nets.collect::<Result<_, _>>()?,
        })
    }

    /// Returns whether the address is in one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.nets.iter().any(|net| net.contains(&address))
    }
}

fn parse(text: &str) -> Result<IpNet, InvalidNetwork> {
    let text = text.trim();
    let net = text.parse();
    let net = net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let invalid = |_| InvalidNetwork { text: text.into() };
    net.map(folded).map_err(invalid)
}

/// Converts an IPv4-mapped network, because addresses are converted before they are compared.
fn folded(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(address), Some(bits)) => Ipv4Net::new(address, bits).map_or(net, IpNet::V4),
        _ => net,
    }
}

// ===== impl InvalidNetwork =====

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a network: write an address and a prefix, as in 10.0.0.0/8 or \
             2001:db8::/32, or an address alone",
            self.text
        )
    }
}

impl error::Error for InvalidNetwork {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_whichever_form() {
        let nets = Networks::new([
            "10.0.0.0/8",
            " 192.0.2.7 ",
            "::ffff:172.16.0.0/108",
            "fd00::/8",
        ])
        .unwrap();
        let has = |address: &str| nets.contains(address.parse().unwrap());
        assert!(has("10.255.0.1"));
        assert!(has("::ffff:10.255.0.1"));
        assert!(has("192.0.2.7"));
        assert!(!has("192.0.2.8"));
        assert!(has("172.31.0.1"));
        assert!(!has("172.32.0.1"));
        assert!(has("fd12::1"));
        assert!(!has("fe80::1"));
        assert!(!Networks::default().contains([10, 0, 0, 1].into()));
    }

    #[test]
    fn an_error_says_what_is_wrong_and_what_is_right() {
        for text in [
            "",
            "10.0.0/8",
            "10.0.0.0/33",
            "proxy.example",
            "10.0.0.1:80",
        ] {
            let error = Networks::new(["10.0.0.0/8", text]).unwrap_err();
            assert_eq!(error.text, text);
            let message = error.to_string();
            assert!(message.starts_with(&format!("{text:?}")) && message.contains("10.0.0.0/8"));
        }
    }
}
