//! The flags of `port-forward`. Parsing only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use clap::Args;

use crate::object_names;

/// Flags of `port-forward`.
#[derive(Args, Debug)]
#[command(
    after_help = "Requests go to the engine of a group that takes traffic, that with the fewest requests in flight. When \
it drains, fails or is replaced, new connections go to another group; those that are open end as the \
engine ends them. It needs the rights to get pods and to create pods/portforward. Ctrl-C ends it.

PORTS is LOCAL, LOCAL:REMOTE or :REMOTE. LOCAL and REMOTE are the engine's port unless they are given; a LOCAL \
of 0 is any free port.

Exit code: 0 ended by Ctrl-C, 1 no group takes traffic or the port is taken, 2 the command line cannot be used.

Examples:
  kubectl rayfleet port-forward llama                         # then: curl localhost:8000/v1/models
  kubectl rayfleet port-forward llama 9000                    # localhost:9000 to the engine's port
  kubectl rayfleet port-forward llama 8265:8265               # Ray's dashboard
  kubectl rayfleet port-forward llama --group llama-bcdfgh-0  # this group and no other"
)]
pub(crate) struct ForwardArgs {
    /// Fleet
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: String,
    /// Local port, and port of the group's head
    #[arg(value_name = "PORTS", default_value = "")]
    pub(crate) ports: Ports,
    /// Only this group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Local addresses to listen on; others than the loopback's are open to whoever reaches this machine
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "localhost")]
    pub(crate) address: Vec<Address>,
}

/// `LOCAL:REMOTE`, each the engine's port if it is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) local: Option<u16>,
    pub(crate) remote: Option<u16>,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| match text {
            "" => Ok(None),
            text => {
                text.parse().map(Some).map_err(|_| format!("`{text}` is no port: write 8000 or 9000:8000"))
            }
        };
        let (local, remote) = text.split_once(':').unwrap_or((text, ""));
        match (port(local)?, port(remote)?) {
            (_, Some(0)) => Err("the remote port is 1 to 65535".to_owned()),
            (local, remote) => Ok(Self { local, remote }),
        }
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// The loopback's addresses that this machine has.
    Localhost,
    /// One address.
    Ip(IpAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self::Localhost);
        }
        text.parse().map(Self::Ip).map_err(|_| "write localhost or an IP address, as 0.0.0.0".to_owned())
    }
}

impl Address {
    /// The addresses, and whether each of them must be had.
    pub(crate) fn all(self) -> Vec<(IpAddr, bool)> {
        match self {
            // As kubectl: one of the two is enough.
            Self::Localhost => vec![(Ipv4Addr::LOCALHOST.into(), false), (Ipv6Addr::LOCALHOST.into(), false)],
            Self::Ip(ip) => vec![(ip, true)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_engines_unless_given() {
        for (text, local, remote) in [
            ("", None, None),
            ("9000", Some(9000), None),
            ("0", Some(0), None),
            ("9000:8000", Some(9000), Some(8000)),
            (":8265", None, Some(8265)),
        ] {
            assert_eq!(text.parse(), Ok(Ports { local, remote }), "{text}");
        }
        for text in ["x", "65536", "1:2:3", "9000:0", "-1"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_an_ip_or_localhost() {
        assert_eq!("0.0.0.0".parse(), Ok(Address::Ip(Ipv4Addr::UNSPECIFIED.into())));
        assert!("localhost".parse::<Address>().unwrap().all().iter().all(|(ip, _)| ip.is_loopback()));
        assert!("example.org".parse::<Address>().is_err());
    }
}
