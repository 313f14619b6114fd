//! Names are looked up on a few threads of our own, each name once however many ask for it.
//!
//! The system's resolver blocks its thread, for ten seconds and more where no name server answers.
//! On tokio's pool for blocking work, lookups would hold up everything else there.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Most lookups at once.
const THREADS: usize = 4;
/// How long a thread waits for another name before it ends.
const IDLE: Duration = Duration::from_secs(1);
/// How long addresses are remembered. The system's resolver keeps to itself how long they hold.
const REMEMBERED: Duration = Duration::from_secs(30);
/// How long a failure is remembered (RFC 9520 section 3.2: from one second to five minutes). Short,
/// because names resolve again as soon as the host is back in a network.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(5);
/// Most names remembered.
const MAX_NAMES: usize = 1_024;

/// The addresses of a host by its name, or the one that the text itself is; none if it does not
/// resolve. `0.0.0.0` and `::` are no addresses: name servers give them for a name that they block.
///
/// Lookups of one name at a time are shared, and their results are remembered: addresses for 30 s,
/// failures for 5 s. At most four names are looked up at once, on threads that end when there is
/// nothing to do. Cancel safe: a name that is waited for no longer is not looked up.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let addresses = ice_gather::lookup("192.0.2.1", 3478).await;
/// assert_eq!(addresses, ["192.0.2.1:3478".parse::<std::net::SocketAddr>().unwrap()]);
/// # }
/// ```
pub async fn lookup(host: &str, port: u16) -> Vec<SocketAddr> {
    static SYSTEM: LazyLock<Names> = LazyLock::new(|| Names::new(of_the_system));
    if let Ok(ip) = host.parse::<IpAddr>() {
        return vec![(ip, port).into()];
    }
    let mut addresses = SYSTEM.lookup(host).await.to_vec();
    for address in &mut addresses {
        address.set_port(port);
    }
    addresses
}

fn of_the_system(host: &str) -> Vec<SocketAddr> {
    (host, 0)
        .to_socket_addrs()
        .map(Iterator::collect)
        .unwrap_or_default()
}

type Addresses = Arc<[SocketAddr]>;
type Resolve = dyn Fn(&str) -> Vec<SocketAddr> + Send + Sync;

/// Names, and the threads that look them up.
struct Names(Arc<Shared>);

struct Shared {
    resolve: Box<Resolve>,
    state: Mutex<State>,
    /// A name waits to be looked up.
    is_filled: Condvar,
}

#[derive(Default)]
struct State {
    names: HashMap<Arc<str>, Name>,
    /// Names that no thread has begun with.
    queue: VecDeque<Arc<str>>,
    threads: usize,
    idle: usize,
}

enum Name {
    /// Its lookup waits or runs.
    Pending(watch::Sender<Option<Addresses>>),
    Known {
        addresses: Addresses,
        until: Instant,
    },
}

impl Names {
    fn new(resolve: impl Fn(&str) -> Vec<SocketAddr> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            resolve: Box::new(resolve),
            state: Mutex::default(),
            is_filled: Condvar::new(),
        }))
    }

    async fn lookup(&self, host: &str) -> Addresses {
        // names do not differ in case (RFC 4343)
        let host = Arc::from(host.to_ascii_lowercase());
        let ask = Ask {
            shared: &self.0,
            host: &host,
        };
        // dropped before the ask, which looks whether it was the last one
        let mut found = match self.0.ask(&host, Instant::now()) {
            Ok(addresses) => return addresses,
            Err(found) => found,
        };
        let addresses = found.wait_for(Option::is_some).await;
        // an error: no thread could be started
        let addresses = addresses.ok().and_then(|found| found.clone());
        drop(found);
        drop(ask);
        addresses.unwrap_or_default()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Addresses that are known, or where they will be.
    fn ask(
        self: &Arc<Self>,
        host: &Arc<str>,
        now: Instant,
    ) -> Result<Addresses, watch::Receiver<Option<Addresses>>> {
        let mut state = self.state();
        let did_resolve = match state.names.get(host) {
            Some(Name::Pending(found)) => return Err(found.subscribe()),
            Some(Name::Known { addresses, until }) if now < *until => return Ok(addresses.clone()),
            Some(Name::Known { addresses, .. }) => !addresses.is_empty(),
            None => false,
        };
        let (sender, found) = watch::channel(None);
        state.names.insert(Arc::clone(host), Name::Pending(sender));
        // names that never resolved may hold a thread for long: the others do not queue behind them
        if did_resolve {
            state.queue.push_front(Arc::clone(host));
        } else {
            state.queue.push_back(Arc::clone(host));
        }
        self.hand_over(&mut state);
        Err(found)
    }

    /// Sees to it that a thread takes what is in the queue.
    fn hand_over(self: &Arc<Self>, state: &mut State) {
        if state.idle >= state.queue.len() {
            self.is_filled.notify_one();
        } else if state.threads < THREADS {
            let shared = Arc::clone(self);
            let thread = thread::Builder::new().name("names".into());
            if thread.spawn(move || shared.work()).is_ok() {
                state.threads += 1;
            } else if state.threads == 0 {
                // those that wait get an error
                for host in core::mem::take(&mut state.queue) {
                    state.names.remove(&host);
                }
            }
        }
    }

    /// What a thread does until there is nothing to do for a while.
    fn work(&self) {
        let mut state = self.state();
        loop {
            while let Some(host) = state.queue.pop_front() {
                drop(state);
                // a resolver that panics has found nothing
                let found = catch_unwind(AssertUnwindSafe(|| (self.resolve)(&host)));
                let addresses = found.unwrap_or_default();
                state = self.state();
                state.settle(host, addresses, Instant::now());
            }
            state.idle += 1;
            let is_empty = |state: &mut State| state.queue.is_empty();
            let waited = self.is_filled.wait_timeout_while(state, IDLE, is_empty);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            if state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl State {
    fn settle(&mut self, host: Arc<str>, addresses: Vec<SocketAddr>, now: Instant) {
        let is_address = |address: &SocketAddr| !address.ip().to_canonical().is_unspecified();
        let addresses: Addresses = addresses.into_iter().filter(is_address).collect();
        let lasts = if addresses.is_empty() {
            FAILURE_REMEMBERED
        } else {
            REMEMBERED
        };
        let known = Name::Known {
            addresses: Arc::clone(&addresses),
            until: now + lasts,
        };
        if let Some(Name::Pending(found)) = self.names.insert(host, known) {
            found.send_replace(Some(addresses));
        }
        self.forget_one();
    }

    /// Where too many are remembered, the one that would be forgotten first goes.
    fn forget_one(&mut self) {
        if self.names.len() <= MAX_NAMES {
            return;
        }
        let known = self.names.iter().filter_map(|(host, name)| match name {
            Name::Known { until, .. } => Some((until, host)),
            Name::Pending(_) => None,
        });
        if let Some((_, first)) = known.min() {
            let first = Arc::clone(first);
            self.names.remove(&first);
        }
    }
}

/// One of those that wait for a name.
struct Ask<'a> {
    shared: &'a Shared,
    host: &'a Arc<str>,
}

impl Drop for Ask<'_> {
    /// The last one takes the name out of the queue.
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let is_unwanted = match state.names.get(self.host) {
            Some(Name::Pending(found)) => found.receiver_count() == 0,
            _ => false,
        };
        if is_unwanted && let Some(place) = state.queue.iter().position(|host| host == self.host) {
            state.queue.remove(place);
            state.names.remove(self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use tokio::task::JoinSet;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A resolver whose lookups end one by one, as they are let go; and the names it was asked for.
    struct Held {
        names: Arc<Names>,
        asked: Arc<Mutex<Vec<String>>>,
        let_go: Sender<()>,
    }

    fn held() -> Held {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (let_go, gate) = channel();
        let (all, gate) = (Arc::clone(&asked), Mutex::new(gate));
        let names = Names::new(move |host| {
            all.lock().unwrap().push(host.to_owned());
            gate.lock().unwrap().recv().unwrap();
            match host {
                "panics" => panic!("planted"),
                "none" => Vec::new(),
                "blocked" => vec![address("0.0.0.0:0"), address("[::]:0")],
                _ => vec![address("192.0.2.1:0")],
            }
        });
        Held {
            names: Arc::new(names),
            asked,
            let_go,
        }
    }

    impl Held {
        fn ask(&self, host: &str, callers: &mut JoinSet<usize>) {
            let (names, host) = (Arc::clone(&self.names), host.to_owned());
            callers.spawn(async move { names.lookup(&host).await.len() });
        }

        /// Waits for a number of lookups that were begun.
        async fn begun(&self, lookups: usize) {
            for _ in 0..1_000 {
                if self.asked.lock().unwrap().len() == lookups {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("{:?}", self.asked.lock().unwrap());
        }

        fn threads(&self) -> usize {
            self.names.0.state().threads
        }
    }

    #[tokio::test]
    async fn one_lookup_serves_all_who_ask_for_the_name_and_those_who_ask_soon_after() {
        let held = held();
        let mut callers = JoinSet::new();
        for _ in 0..1_000 {
            held.ask("Stun.Example.ORG", &mut callers);
            held.ask("stun.example.org", &mut callers);
        }
        held.begun(1).await;
        held.let_go.send(()).unwrap();
        assert_eq!(callers.join_all().await, [1; 2_000]);
        assert_eq!(held.names.lookup("stun.example.org").await.len(), 1);
        assert_eq!(*held.asked.lock().unwrap(), ["stun.example.org"]);
    }

    #[tokio::test]
    async fn failures_are_remembered_too_and_an_address_that_is_none_is_one() {
        let held = held();
        for host in ["none", "blocked", "panics"] {
            held.let_go.send(()).unwrap();
            assert!(held.names.lookup(host).await.is_empty(), "{host}");
            assert!(held.names.lookup(host).await.is_empty(), "{host}");
        }
        assert_eq!(*held.asked.lock().unwrap(), ["none", "blocked", "panics"]);
    }

    #[tokio::test]
    async fn two_thousand_names_have_four_threads_which_end() {
        let held = held();
        let mut callers = JoinSet::new();
        for number in 0..2_000 {
            held.ask(&format!("stun{number}"), &mut callers);
        }
        held.begun(THREADS).await;
        assert_eq!(held.threads(), THREADS);
        for _ in 0..2_000 {
            held.let_go.send(()).unwrap();
        }
        assert_eq!(callers.join_all().await, [1; 2_000]);
        assert!(held.names.0.state().names.len() <= MAX_NAMES);
        tokio::time::sleep(2 * IDLE).await;
        assert_eq!(held.threads(), 0);
        // and begin again
        held.let_go.send(()).unwrap();
        assert_eq!(held.names.lookup("another").await.len(), 1);
    }

    #[tokio::test]
    async fn callers_that_gave_up_leave_nothing_but_the_lookups_that_run() {
        let held = held();
        let mut callers = JoinSet::new();
        for number in 0..100 {
            held.ask(&format!("stun{number}"), &mut callers);
            held.ask(&format!("stun{number}"), &mut callers);
        }
        held.begun(THREADS).await;
        callers.shutdown().await;
        let sizes = || {
            let state = held.names.0.state();
            (state.queue.len(), state.names.len())
        };
        assert_eq!(sizes(), (0, THREADS));
        // what runs is shared by those who come later
        let host = held.asked.lock().unwrap()[0].clone();
        held.ask(&host, &mut callers);
        tokio::task::yield_now().await;
        for _ in 0..THREADS {
            held.let_go.send(()).unwrap();
        }
        assert_eq!(callers.join_all().await, [1]);
        held.begun(THREADS).await;
    }

    #[tokio::test]
    async fn a_name_is_looked_up_again_after_a_while_and_before_those_that_never_resolved() {
        let held = held();
        for _ in 0..2 {
            held.let_go.send(()).unwrap();
        }
        held.names.lookup("good").await;
        held.names.lookup("none").await;
        for name in held.names.0.state().names.values_mut() {
            if let Name::Known { until, .. } = name {
                *until = Instant::now();
            }
        }
        let mut callers = JoinSet::new();
        for number in 0..THREADS {
            held.ask(&format!("stun{number}"), &mut callers);
        }
        held.begun(2 + THREADS).await;
        held.ask("none", &mut callers);
        tokio::task::yield_now().await;
        held.ask("good", &mut callers);
        tokio::task::yield_now().await;
        for _ in 0..THREADS + 2 {
            held.let_go.send(()).unwrap();
        }
        callers.join_all().await;
        assert_eq!(held.asked.lock().unwrap()[2 + THREADS..], ["good", "none"]);
    }

    #[test]
    fn the_longest_remembered_go_first() {
        let mut state = State::default();
        let now = Instant::now();
        for number in 0..MAX_NAMES + 10 {
            let host = Arc::from(number.to_string());
            let then = now + Duration::from_millis(number as u64);
            state.settle(host, vec![address("192.0.2.1:0")], then);
        }
        assert_eq!(state.names.len(), MAX_NAMES);
        assert!(!state.names.contains_key("9") && state.names.contains_key("10"));
    }

    #[tokio::test]
    async fn an_address_is_its_own_name_and_takes_no_lookup() {
        for text in ["192.0.2.1:5", "[2001:db8::1]:5"] {
            let given = address(text);
            assert_eq!(lookup(&given.ip().to_string(), 5).await, [given]);
        }
        let local = lookup("localhost", 5).await;
        assert!(
            local
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 5)
        );
        assert!(!local.is_empty());
    }
}
