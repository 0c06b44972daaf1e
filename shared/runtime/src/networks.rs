//! The networks that a provider's callbacks come from.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use model::{Networks, Timestamp};
use tokio::net::lookup_host;

use crate::{
    Error,
    cached::{Cached, LookUp},
};

/// Configured networks, and the current addresses of host names.
#[derive(Debug)]
pub struct AllowedNetworks<L: LookUp = Hosts> {
    fixed: Vec<IpNet>,
    hosts: Option<Cached<L>>,
}

impl AllowedNetworks {
    /// These networks, and the addresses of these hosts, if any. A failed look-up keeps the last
    /// answer.
    pub(crate) fn new(fixed: Vec<IpNet>, hosts: Option<Cached<Hosts>>) -> Self {
        Self { fixed, hosts }
    }
}

impl<L: LookUp<Value = BTreeSet<IpAddr>>> Networks for AllowedNetworks<L> {
    async fn contain(&self, address: IpAddr, now: Timestamp) -> bool {
        if self.fixed.iter().any(|network| network.contains(&address)) {
            return true;
        }
        match &self.hosts {
            Some(hosts) => hosts.get(now).await.is_some_and(|addresses| addresses.contains(&address)),
            None => false,
        }
    }
}

/// The addresses of host names, as DNS has them.
#[derive(Debug)]
pub struct Hosts(pub(crate) &'static [&'static str]);

impl LookUp for Hosts {
    type Value = BTreeSet<IpAddr>;
    const WHAT: &'static str = "callback hosts";

    /// All or nothing: the last complete answer is better than half of a new one.
    async fn look_up(&self) -> Result<Self::Value, Error> {
        let mut addresses = BTreeSet::new();
        for host in self.0 {
            addresses.extend(lookup_host((*host, 443)).await?.map(|address| address.ip().to_canonical()));
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use super::*;

    /// Names that have these addresses, or none that can be found.
    struct Names(Mutex<Option<&'static str>>);

    impl LookUp for &Names {
        type Value = BTreeSet<IpAddr>;
        const WHAT: &'static str = "names";

        async fn look_up(&self) -> Result<Self::Value, Error> {
            let address = self.0.lock().unwrap().ok_or("no such name")?;
            Ok(BTreeSet::from([address.parse()?]))
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[tokio::test]
    async fn configured_networks_and_resolved_addresses_are_allowed() {
        let names = Names(Mutex::new(Some("198.51.100.7")));
        let fixed = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let networks = AllowedNetworks { fixed, hosts: Some(Cached::new(&names, Duration::from_secs(1))) };
        let allowed = async |address: &str, second| networks.contain(address.parse().unwrap(), at(second)).await;

        assert!(allowed("192.0.2.255", 0).await);
        assert!(allowed("2001:db8::1", 0).await);
        assert!(allowed("198.51.100.7", 0).await);
        assert!(!allowed("198.51.100.8", 0).await);

        // A look-up that fails keeps the last answer; one that succeeds replaces it.
        *names.0.lock().unwrap() = None;
        assert!(allowed("198.51.100.7", 301).await);
        *names.0.lock().unwrap() = Some("198.51.100.8");
        assert!(!allowed("198.51.100.7", 700).await);
        assert!(allowed("198.51.100.8", 700).await);
    }

    #[tokio::test]
    async fn names_are_looked_up_and_one_that_is_not_there_is_a_failure() {
        assert!(Hosts(&["localhost"]).look_up().await.unwrap().iter().all(IpAddr::is_loopback));
        assert!(Hosts(&["localhost", "none.invalid"]).look_up().await.is_err());
    }
}
