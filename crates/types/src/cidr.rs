//! An address or a network of the internet protocol, as people write it: `203.0.113.7`, `198.51.100.0/24`, `2001:db8::/32`.
//!
//! Text comes in; a [`Network`] leaves, in its one shortest form. It never asks a name server: a name can mean another
//! host tomorrow.

use std::{fmt, net::IpAddr, str::FromStr};

/// A network; a single address is one with all bits fixed.
///
/// **Shape**: the bits behind the prefix are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Says that a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address and no network")]
pub struct NetworkError(pub String);

impl Network {
    /// All addresses of both families.
    pub const ALL: [Self; 2] = [
        Self { address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), prefix: 0 },
        Self { address: IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), prefix: 0 },
    ];

    /// Makes the network of one address.
    pub fn of(address: IpAddr) -> Self {
        // What came over a socket of both families is written as the address that it is.
        let address = address.to_canonical();
        Self { address, prefix: bits(address) }
    }

    /// Whether it is of version 4.
    pub fn is_v4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Returns how many bits are fixed.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether all addresses of the other one are in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_v4() == other.is_v4()
            && self.prefix <= other.prefix
            && masked(other.address, self.prefix) == self.address
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or_default();
            IpAddr::V4((four.to_bits() & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or_default();
            IpAddr::V6((six.to_bits() & mask).into())
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || NetworkError(text.to_owned());
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| error())?)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let prefix = prefix.unwrap_or(bits(address));
        if prefix > bits(address) {
            return Err(error());
        }
        Ok(Self { address: masked(address, prefix), prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.address) {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_in_one_form_and_know_what_they_cover() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        for (text, shown) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/32", "203.0.113.7"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).to_string(), shown);
        }
        for text in ["", "example.com", "203.0.113.7/33", "1.2.3", "1.2.3.4/x", "::1/129"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert!(network("203.0.113.0/24").covers(&network("203.0.113.7")));
        assert!(!network("203.0.113.7").covers(&network("203.0.113.0/24")));
        assert!(!network("203.0.112.0/24").covers(&network("203.0.113.7")));
        assert!(Network::ALL.iter().any(|all| all.covers(&network("fd00::1"))));
        assert!(!network("::/0").covers(&network("1.2.3.4")));
        assert_eq!(Network::of("::ffff:192.0.2.7".parse().unwrap()), network("192.0.2.7"));
    }
}
