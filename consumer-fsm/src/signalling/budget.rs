//! A budget that strangers share: the more of it is used, the less each of them may take.

use core::fmt;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The divisor of the free amount that one client may hold: an eighth. A fixed limit alone, such as
/// a 16th of the whole budget, would let 16 greedy clients leave nothing for the next one. With the
/// share of the free amount as well, that takes about 60 clients.
const PART_OF_FREE: usize = 8;

/// A client, as far as its address distinguishes clients.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client(IpAddr);

impl From<IpAddr> for Client {
    /// An IPv6 network of 64 bits is one client, because each of its hosts may use all of its
    /// addresses (RFC 8981).
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
            ip => ip,
        })
    }
}

/// An amount of which each client may hold a part. Clones are the same budget.
#[derive(Clone)]
pub(super) struct Budget(Arc<Inner>);

struct Inner {
    total: usize,
    per_client: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    by_all: usize,
    /// Without the clients that hold nothing.
    by_client: HashMap<Client, usize>,
}

impl Budget {
    pub(super) fn new(total: usize, per_client: usize) -> Self {
        Self(Arc::new(Inner {
            total,
            per_client,
            held: Mutex::default(),
        }))
    }

    /// Takes this amount for a client; `None` if the client would hold more than its part. With
    /// `None` as the client, this process itself takes the amount, and may take all that is free.
    pub(super) fn take(&self, client: Option<Client>, amount: usize) -> Option<Share> {
        let mut share = Share {
            budget: Arc::clone(&self.0),
            client,
            amount: 0,
        };
        share.grow(amount).then_some(share)
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("total", &self.0.total)
            .field("held", &self.0.held().by_all)
            .finish_non_exhaustive()
    }
}

/// A part of a budget, given back when dropped.
pub(super) struct Share {
    budget: Arc<Inner>,
    client: Option<Client>,
    amount: usize,
}

impl Share {
    /// Takes `more` on top. Returns `false` and changes nothing if that is too much.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let mut held = self.budget.held();
        if !held.admits(&self.budget, self.client, more) {
            return false;
        }
        held.add(self.client, more);
        self.amount += more;
        true
    }

    /// Counts this share against a client, once the client is known. Returns `false` and changes
    /// nothing if the client would hold more than its part.
    #[cfg(any(test, feature = "http"))]
    pub(super) fn assign(&mut self, client: Client) -> bool {
        let mut held = self.budget.held();
        held.remove(self.client, self.amount);
        let is_admitted = held.admits(&self.budget, Some(client), self.amount);
        if is_admitted {
            self.client = Some(client);
        }
        held.add(self.client, self.amount);
        is_admitted
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held().remove(self.client, self.amount);
    }
}

impl Held {
    fn admits(&self, budget: &Inner, client: Option<Client>, more: usize) -> bool {
        let free = budget.total.saturating_sub(self.by_all);
        let Some(client) = client else {
            return more <= free;
        };
        let of_client = self.by_client.get(&client).copied().unwrap_or(0);
        let most = budget.per_client.min(free.div_ceil(PART_OF_FREE));
        of_client.saturating_add(more) <= most
    }

    fn add(&mut self, client: Option<Client>, amount: usize) {
        self.by_all += amount;
        if let Some(client) = client.filter(|_| amount > 0) {
            *self.by_client.entry(client).or_default() += amount;
        }
    }

    fn remove(&mut self, client: Option<Client>, amount: usize) {
        self.by_all -= amount;
        if let Some(client) = client
            && let Some(of_client) = self.by_client.get_mut(&client)
        {
            *of_client -= amount;
            if *of_client == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn client(number: u32) -> Client {
        IpAddr::from(Ipv4Addr::from_bits(number)).into()
    }

    /// Takes single units until there are no more for this client.
    fn fill(budget: &Budget, client: Client) -> Vec<Share> {
        core::iter::from_fn(|| budget.take(Some(client), 1)).collect()
    }

    #[test]
    fn a_client_holds_its_limit_and_gets_back_what_it_dropped() {
        let budget = Budget::new(1_024, 64);
        let mut held = fill(&budget, client(1));
        assert_eq!(held.len(), 64);
        held.pop();
        assert!(budget.take(Some(client(1)), 2).is_none());
        assert!(budget.take(Some(client(1)), 1).is_some());
        assert_eq!(fill(&budget, client(2)).len(), 64);
        drop(held);
        let held = budget.0.held();
        assert_eq!((held.by_all, held.by_client.len()), (0, 0));
    }

    #[test]
    fn the_more_is_used_the_less_a_client_may_take() {
        let budget = Budget::new(1_024, 64);
        let held: Vec<_> = (0..40)
            .map(|number| fill(&budget, client(number)))
            .collect();
        assert!(held.is_sorted_by(|a, b| a.len() >= b.len()));
        assert!(
            budget.take(Some(client(1_000)), 1).is_some(),
            "room for the next one"
        );
    }

    #[test]
    fn a_share_grows_within_the_limit_and_is_unchanged_beyond_it() {
        let budget = Budget::new(1_000, 100);
        let mut share = budget.take(Some(client(1)), 60).unwrap();
        assert!(share.grow(40));
        assert!(!share.grow(1));
        assert!(!share.grow(usize::MAX));
        assert_eq!(share.amount, 100);
        // this process itself may use all that is free
        assert!(budget.take(None, 900).is_some());
        assert!(budget.take(None, 901).is_none());
    }

    #[test]
    fn a_share_counts_for_the_client_that_it_turned_out_to_be_of() {
        let budget = Budget::new(1_000, 2);
        let mut shares: Vec<_> = (0..3).map(|_| budget.take(None, 1).unwrap()).collect();
        assert!(shares[0].assign(client(1)));
        assert!(shares[1].assign(client(1)));
        assert!(!shares[2].assign(client(1)));
        assert!(shares[2].assign(client(2)));
        assert!(shares[2].assign(client(3)), "it may change once more");
        drop(shares);
        let held = budget.0.held();
        assert_eq!((held.by_all, held.by_client.len()), (0, 0));
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_each_ipv4_address_one() {
        let of = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        assert!(of("2001:db8::1") == of("2001:db8::ffff:1:2:3"));
        assert!(of("2001:db8::1") != of("2001:db8:0:1::1"));
        assert!(of("203.0.113.7") != of("203.0.113.8"));
        assert!(of("::ffff:203.0.113.7") == of("203.0.113.7"));
        assert!(of("::ffff:203.0.113.7") != of("::ffff:203.0.113.8"));
        assert!(of("::1") == Client(Ipv6Addr::UNSPECIFIED.into()));
    }
}
