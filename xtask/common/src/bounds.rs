//! Every bound a command checks, with the reason for it.

use std::time::Duration;

/// The whole of `.ci/run` on two cores with nothing built yet. It is shown and not judged, because
/// a slow machine is no fault of a change.
pub const CI: Duration = Duration::from_secs(25 * 60);

/// Delay by a silent server beyond three round trips: a grace period, and the scheduler.
pub const SILENT_SERVER: Duration = Duration::from_millis(300);

/// The whole demonstration, once built. It is short, because a person watches it.
pub const DEMO: Duration = Duration::from_secs(30);

/// Longest way of a datagram of the demonstration. A later one will not come, because the simulated
/// networks lose nothing and take less than a second.
pub const ECHO_WITHIN: Duration = Duration::from_secs(5);

/// Cycles of each leak path in the long form, which takes half an hour on two cores: what leaks
/// once in a thousand attempts leaks twenty times.
pub const LEAK_CYCLES: u32 = 20_000;
/// Cycles of a path that waits 80 ms for a silent peer in each cycle, one after the other. There
/// are fewer, because 20,000 of them would take half an hour.
pub const LEAK_CYCLES_SILENT: u32 = 5_000;

/// Cycles of each leak path in CI: a leak of one task or descriptor shows at once, of bytes after a
/// few hundred.
pub const LEAK_CYCLES_CI: u32 = 300;

/// Measurements, 5 ms apart, until all leftovers have to be gone. They take three seconds, because
/// the longest tear-down gives up after one second, and the machine is busy.
pub const SETTLED_LOOKS: u32 = 600;

/// Over so many cycles a byte per cycle is more than any table's growth: the largest seen, of a
/// switchboard's hundred producers, is 6 KB, once. Below, more cycles decide.
pub const LEAK_CYCLES_SURE: u32 = 8_000;

/// Live heap bytes per attempt. The smallest leak of a real object is a byte per attempt; below it
/// is the jitter of queues and tables that reached a new high-water mark.
pub const LEAK_BYTES: f64 = 1.0;

/// The same for the byte that is planted: each cycle's is seen, and a table that grows meanwhile
/// adds half of one at most.
pub const PLANTED_BYTES: std::ops::Range<f64> = 0.99..1.5;

/// The share of a path's cycles that have to go as intended, because a cycle that took another way
/// proves nothing. All of them, if only the path itself decides.
pub const INTENDED: f64 = 1.0;
/// Where several exchanges have to succeed within seconds, and the machine may once in a hundred
/// times be busy for as long.
pub const INTENDED_BUT_LATE: f64 = 0.99;
/// Where timers of some 10 ms decide: a machine that is busy for as long turns one cycle of ten.
pub const INTENDED_BY_TIMERS: f64 = 0.9;
/// Where two things a few milliseconds apart have to come in order; or where the moment at which
/// the path is given up lies behind its end in less than half of all cycles. Half of them show a
/// leak as well as all.
pub const INTENDED_IN_A_RACE: f64 = 0.5;
/// Where the path is given up at a moment, or after a number of polls, that also falls behind its
/// end: on a fast machine in most cycles.
pub const INTENDED_BEFORE_THE_END: f64 = 0.25;
/// Where that moment has to fall within 5 ms that another side decides about.
pub const INTENDED_AMID_TWO: f64 = 0.1;

/// Of thirty datagrams that are no answers, more than these have to be rejected before the true
/// answer comes. The bound is below thirty, because the rest may come after the answer.
pub const FLOOD_TOLD_APART: u32 = 10;

/// Longest time for two agents on loopback to connect, and for a burst of datagrams between them to
/// arrive. Loopback loses nothing, so a busy machine does not explain a longer time.
pub const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// Longest time for a pipeline to export its last spans to a collector that answers at once.
pub const PIPELINE_SHUTDOWN: Duration = Duration::from_secs(5);

/// Longest time for a pipeline to shut down with a collector that fails: its two seconds, and two
/// more because the machine may be busy.
pub const COLLECTOR_SHUTDOWN: Duration = Duration::from_secs(4);

/// Longest time until a span is on the collector's page. It is seconds, because the collector
/// writes in batches.
pub const COLLECTOR_ARRIVAL: Duration = Duration::from_secs(15);

/// Longest an emitting task may wait, whatever the collector does. It has nothing to wait for: this
/// is one contended lock of the allocator.
pub const EMISSION_WAIT: Duration = Duration::from_millis(1);

/// Attempts of the simulated fleet: enough that the rarest kinds of NAT come by the hundred.
pub const FLEET: u64 = 100_000;
/// In CI: every question has every row that matters.
pub const FLEET_QUICK: u64 = 20_000;
/// The number of spans below which a group is not shown, as the questions of `otel-nat/deploy` have it.
pub const FLEET_SHOWN: u64 = 20;
/// All spans are in ClickHouse by then: a collector writes a batch each second at least.
pub const FLEET_ARRIVAL: Duration = Duration::from_secs(60);

/// Success at the punching stage, in percent, and how far the simulation may be from it: the published deviation.
pub const PUBLISHED_PUNCHED: (f64, f64) = (70.0, 7.1);
/// The share of successes at the first attempt: published without a deviation; a fleet of 20,000 spreads by half of
/// this.
pub const PUBLISHED_FIRST: (f64, f64) = (97.6, 0.7);
/// The share of NATs that let hole punching through. The figure is of 2005, and a percent or two are its rounding.
pub const PUBLISHED_NATS: (f64, f64) = (82.0, 3.0);

/// Percent that DuckDB's answer may be off from ours: both are rounded to hundredths, and one may
/// be rounded up where the other is not.
pub const PERCENT_APART: f64 = 0.0101;

/// Each fuzz target, unless one says otherwise: enough to replay the corpus and go a little beyond.
pub const FUZZ_SECONDS: u64 = 60;

/// Time to a verdict with every server alive, as a multiple of stock webrtc-ice's: the same one
/// round trip, and not a timer's tick more.
pub const ALL_LIVE: f64 = 1.1;
/// Beyond this it is no longer the machine.
pub const ALL_LIVE_GATE: f64 = 1.5;

/// How much faster than stock with one server of five dead: its fixed 5 s against a round trip and
/// a grace period, 60 ms.
pub const ONE_DEAD: f64 = 50.0;
/// Below this it is no longer the machine.
pub const ONE_DEAD_GATE: f64 = 25.0;

/// Longest time until a server on loopback has read a packet. A later one was never sent.
pub const ARRIVED_WITHIN: Duration = Duration::from_secs(1);

/// With 30 % loss each way a verdict has to stand by then. Three of a server's requests fit in, so
/// one server stays unheard with (1 - 0.7^2)^3 = 13.3 %, and fewer than two of five are heard with
/// 0.14 %.
pub const DECIDED_WITHIN: Duration = Duration::from_secs(1);
/// The share of gatherings in which it does.
pub const DECIDED_SHARE: f64 = 0.99;

/// Datagrams per second through the base, as a part of a bare socket's or stock webrtc-ice's.
pub const DATA_PATH: f64 = 0.97;
/// Below this it is no longer the machine: a copy or a lock per datagram shows like this.
pub const DATA_PATH_GATE: f64 = 0.8;
/// Allocations added per datagram: none. The fraction leaves room for the library's keepalives, one
/// every 2 s.
pub const ALLOCATIONS_ADDED: f64 = 0.005;

/// Datagrams per second of a base where one of 512 is a check of the peer, of the same base where
/// none is: one keyed hash and one more lock for each check.
pub const PEER_READER: f64 = 0.99;
/// Below this it is no longer the machine: an allocation or a second lock per datagram shows like
/// this.
pub const PEER_READER_GATE: f64 = 0.9;

/// Nanoseconds of a verdict, from the candidates or answers on: beside a gathering of milliseconds
/// it is nothing. A time alone never fails, because it depends on the machine.
pub const JUDGE_NS: f64 = 150.0;
/// How much faster a verdict is than by the same rules on hash maps, because the judge uses no
/// heap.
pub const JUDGE_FASTER: f64 = 5.0;
/// Below this it is no longer the machine: a single hash map shows like this.
pub const JUDGE_FASTER_GATE: f64 = 2.5;
/// Nanoseconds of a candidate line: it is read once, byte by byte.
pub const PARSE_NS: f64 = 100.0;
/// Below this an emission is no longer cheaper by the machine's doing. The target, twice, and the
/// allocations stand in the bench itself, which fails by them without us.
pub const EMISSION_CHEAPER_GATE: f64 = 1.5;

/// Most words such as "whoever" in 1,000 words of a crate's comments. They hide the noun. Libraries
/// of the field have at most two.
pub const RIDDLES: usize = 5;
/// Fewest reasons with "because" in as many words, the usual number in libraries of the field.
pub const REASONS: usize = 1;

/// Gatherings at once, a few first, to compare with.
pub const GATHERS_AT_ONCE: [usize; 3] = [100, 500, 2_000];
/// Peak heap per gathering with the most at once, of that with the fewest: flat, but for tables
/// that double.
pub const SCALE_HEAP: f64 = 1.2;

/// Gatherings of a lossy case that may hear fewer than two servers: of five, with four requests
/// each and three of ten packets lost each way, one in nine thousand does.
pub const LAB_STARVED: usize = 1;

/// Two agents have found a pair by then, where one can be found: ten rounds of checks in a world
/// without delay.
pub const LAB_PAIR: Duration = Duration::from_secs(1);

/// Bytes of a README, changelog or licence: a shorter one is a heading over nothing.
pub const WRITTEN: usize = 40;

/// Crates that each library brings on Linux, without default features, by default and with all features:
/// what it is now, and a few for what its dependencies may do in a patch release. Without the feature
/// `agent`, ice-gather has 25, and a program with a stack of its own may take 40. Of ice-gather's features, `cli` and
/// `manual` bring eight: `clap`, `clap_complete`, `clap_mangen` and the crates below them; `capture`
/// brings six: `pcap-parser`, `etherparse` and the crates below them. The 100 of its feature `webrtc`
/// are the peer connection itself, which a program that takes the feature has already.
pub const TREES: &[(&str, usize, usize, usize)] = &[
    ("consumer-fsm", 120, 120, 205),
    ("ice-gather", 28, 113, 228),
    ("nat-summary", 0, 0, 17),
    ("otel-nat", 12, 12, 80),
];

/// Features that no program takes together with the others of their crate, and what each one alone
/// brings without the default features. `webrtc-021` brings the peer connection of webrtc 0.21, which a
/// program that takes the feature has already.
pub const APART: &[(&str, &str, usize)] = &[("ice-gather", "webrtc-021", 172)];

/// Slots at once: what one volunteer machine of two cores has to carry.
pub const SLOTS: usize = 2_000;
/// Enough to see that they all connect.
pub const SLOTS_QUICK: usize = 200;
/// All of them have a path by then, or never: 2,000 handshakes, ten a second.
pub const SLOTS_WITHIN: Duration = Duration::from_secs(240);
/// Attempts of the churn: a day of one client, at one a second.
pub const CHURN_ATTEMPTS: u32 = 100_000;
/// Enough that a table which doubles once, by two kilobytes, is no leak of a byte per attempt.
pub const CHURN_ATTEMPTS_QUICK: u32 = 5_000;
/// Heap of a slot with a path, in KiB, because two thousand of them have to fit into 128 MiB. A
/// bare agent of ours takes twice as much as stock webrtc-ice's, which is shown beside it;
/// `xtask/docs/design.md` lists the bytes.
pub const SLOT_KIB: f64 = 64.0;

/// Chaos, unless one says otherwise: every fault a few dozen times.
pub const CHAOS: Duration = Duration::from_secs(60);
/// The same in CI, in minutes: every fault a few times.
pub const CHAOS_MINUTES_CI: f64 = 0.33;
/// Longest wait for a path in an episode, with everything failing: by then it is given up.
pub const CHAOS_PATH: Duration = Duration::from_secs(6);
/// Longest time of an attempt after its owner has cancelled it: a tear-down takes at most one
/// second, and the machine is busy.
pub const CHAOS_ENDING: Duration = Duration::from_secs(3);
/// An episode that takes this many times its own time never ends. One that is merely late breaks
/// the bound above.
pub const CHAOS_NEVER: u32 = 2;
/// Looks at the heap in the second half of a run: with fewer, all are judged, and one table more
/// may have grown.
pub const CHAOS_LOOKS: usize = 3;
/// Live heap bytes per episode in the second half of a run. A leak of one object per attempt is
/// more; one table that grew is less.
pub const CHAOS_HEAP: f64 = 16.0;
/// Bytes of a table that doubled once, on top, where there are few looks: over 200 judged episodes,
/// as in CI, a leak of 37 bytes each is more; over the 16 that there are on the slowest machine,
/// one of 272.
pub const CHAOS_TABLE: f64 = 4096.0;

/// Cycles of each way a data channel can end.
pub const CHANNEL_CYCLES: u32 = 1_000;

/// The same in CI.
pub const CHANNEL_CYCLES_CI: u32 = 60;

/// Heap of one side of an open data channel beyond plain ICE: half of the 58 kB that it took on `dtls`
/// and `webrtc-sctp`. `consumer-fsm/docs/data-channel.md` lists where it goes.
pub const CHANNEL_BYTES: i64 = 29_000;
/// The same with the ICE agent below it: 52.5 kB, and a little for another allocator's habits.
pub const CHANNEL_SIDE_BYTES: i64 = 55_000;
/// Heap of one side of plain ICE: 25 kB, of which the library's agent takes 20.
pub const ICE_SIDE_BYTES: i64 = 28_000;

/// Longest time for ICE, DTLS and SCTP on loopback together. A busy machine does not explain a
/// longer time.
pub const CHANNEL_WITHIN: Duration = Duration::from_secs(10);

/// Datagrams over each path to a peer: enough that one lost in a hundred shows.
pub const INTEROP_DATAGRAMS: u32 = 1_000;
/// A datagram that is not back after this time, while no other comes in, is lost.
pub const INTEROP_LOST: Duration = Duration::from_millis(500);
/// What an attempt with its datagrams may take in all: a browser that starts beside it, on a busy
/// machine.
pub const INTEROP_WITHIN: Duration = Duration::from_secs(60);

/// Of the datagrams that a peer should send back. The channel may lose some; nothing between the
/// namespaces does.
pub const INTEROP_ECHOED: f64 = 0.99;
/// How long a peer may take to start and to announce itself: a browser on a busy machine.
pub const INTEROP_START: Duration = Duration::from_secs(40);
/// How long `taps` watches a stack behind a router that drops UDP: two copies of a request that each wait
/// for 1.5 s, of the slowest stack and on a busy machine.
pub const TAPS_BLOCKED: Duration = Duration::from_secs(9);
/// Wait for further peers to choose from: there is one.
pub const INTEROP_CHOICE: Duration = Duration::from_millis(10);

/// A count of the baseline may grow by this before it is worse: another compiler places an
/// instruction differently, a queue grows a little earlier.
pub const COUNT_TOLERANCE: f64 = 1.05;

/// Forged datagrams of each class at each stand of a siege: a growth of a byte for each is a
/// mebibyte.
pub const SIEGE_DATAGRAMS: u64 = 1_000_000;
/// The same in CI: a growth of 200 bytes for each is as much.
pub const SIEGE_DATAGRAMS_QUICK: u64 = 5_000;
/// Longest flood of one class, unless the whole run has a length.
pub const SIEGE_CLASS: Duration = Duration::from_secs(120);
/// Between two datagrams of the honest echo: 100 per second.
pub const SIEGE_ECHO_EVERY: Duration = Duration::from_millis(10);
/// Of the honest echo under attack. The attacker stops short of the kernel's queue, so nothing but
/// the program can lose one.
pub const SIEGE_ECHOED: f64 = 0.99;
/// Live heap that a class may add at any time, in bytes.
pub const SIEGE_HEAP: i64 = 1024 * 1024;
/// The same for a peer with valid keys, while its path is there: SCTP may hold 2 MiB of unread chunks,
/// with as much around them.
pub const SIEGE_HEAP_OF_A_PEER: i64 = 6 * 1024 * 1024;
/// CPU of a forged datagram, of what a bare socket takes to receive and discard the same one.
pub const SIEGE_CPU: f64 = 2.0;
/// Datagrams that an attempt sends to a third party which a hostile host names, and which never
/// answers; and their bytes.
pub const SIEGE_THIRD_PARTY_PACKETS: u64 = 30;
/// The same in bytes.
pub const SIEGE_THIRD_PARTY_BYTES: u64 = 10_000;
/// Resident memory of the signalling service under attack: its budget is 64 MiB.
pub const SIEGE_SERVICE_RESIDENT: i64 = 96 * 1024 * 1024;
/// Half of the honest exchanges take less meanwhile.
pub const SIEGE_EXCHANGE: Duration = Duration::from_millis(100);
