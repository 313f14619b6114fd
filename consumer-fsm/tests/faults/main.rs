//! Faults, each walked in a process of its own: the transition, the span, and nothing left behind.
//!
//! The list below is the list in `docs/faults.md`.

mod alive;
mod cancellation;
mod channel;
mod fault;
#[path = "../it/faulty.rs"]
#[allow(dead_code, reason = "the other integration tests use the rest")]
mod faulty;
mod host;
mod peer;
mod planted;
mod raw;
#[path = "../it/runner.rs"]
#[allow(dead_code, reason = "the other integration tests use the rest")]
mod runner;
mod sctp;
mod service;
#[path = "../it/stage.rs"]
#[allow(dead_code, reason = "the other integration tests use the rest")]
mod shared;
mod stage;
mod stun;
mod table;
mod vanish;
mod walk;
mod wire;

use fault::{Fault, LeadsTo, Span};

/// Makes a test and a row of the list from each line.
macro_rules! faults {
    (@leads $state:ident $event:ident) => { LeadsTo::Event(consumer_fsm::State::$state, consumer_fsm::Event::$event) };
    (@leads $each:literal) => { LeadsTo::Each($each) };
    (@wrapper) => { None };
    (@wrapper $wrapper:path) => { Some($wrapper) };
    ($($group:literal in $module:ident { $($name:ident: $what:literal => ($($leads:tt)+), $span:expr $(, in $wrapper:path)?;)* })*) => {
        const FAULTS: &[Fault] = &[$($(Fault {
            group: $group,
            name: concat!(stringify!($module), "::", stringify!($name)),
            what: $what,
            leads_to: faults!(@leads $($leads)+),
            span: $span,
            wrapper: faults!(@wrapper $($wrapper)?),
            stage: |stage| Box::pin($module::$name(stage)),
        },)*)*];

        mod row {
            $(mod $module {
                $(#[test]
                fn $name() {
                    crate::walk::apart(concat!(stringify!($module), "::", stringify!($name)));
                })*
            })*
        }
    };
}

faults! {
    "Peers that vanish" in vanish {
        nobody_there: "No producer announces itself" => (Listening NothingHeard), Span::None;
        after_genesis: "Gone before the offer reaches it (404)" => (Offering LostRace), Span::Failure("cancelled");
        after_the_offer: "Takes the offer and never answers (200, empty)" => (Offering PeerDied), Span::Failure("cancelled");
        after_the_answer: "Answers, then takes no candidates (404)" => (Trickling PartnerGone), Span::Failure("peer_gone");
        after_the_candidates: "Takes the candidates, never checks nor answers a check" => (Opening TimedOut), Span::Failure("timeout");
        while_checks_run: "Gone with its socket while checks run" => (Opening TimedOut), Span::Failure("timeout");
        as_soon_as_it_is_up: "Gone the moment the path is up" => (Established Ended), Span::Success;
        from_a_path: "Gone without a word from a path in use" => (Established Ended), Span::Success;
    }
    "Peers that send wrong messages" in peer {
        wrong_ufrag: "Another user name fragment than it uses" => (Opening TimedOut), Span::Failure("timeout");
        wrong_password: "Another password than it uses" => (Opening TimedOut), Span::Failure("timeout");
        impossible_credentials: "Credentials of a length that RFC 8839 forbids" => (Opening IceFailed), Span::Failure("ice_failed");
        no_credentials: "A description without credentials" => (Offering BadAnswer), Span::Failure("cancelled");
        endless_description: "A description of 70 kB" => (Offering BadAnswer), Span::Failure("cancelled");
        same_role: "Controlling, as we are" => (Opening TimedOut), Span::Failure("timeout");
        no_candidates: "No candidate, and no check" => (Opening TimedOut), Span::Failure("timeout");
        a_thousand_candidates: "1,000 candidates, and no socket at any of them" => (Opening TimedOut), Span::Failure("timeout");
        a_hundred_wrong_candidates_and_its_own: "100 candidates without a socket, after its own" => (Opening Opened), Span::Success;
        our_own_address: "Our own candidates and credentials, back" => (Opening TimedOut), Span::Failure("timeout");
        unroutable: "Candidates that no route leads to" => (Opening TimedOut), Span::Failure("timeout");
        unspecified: "The unspecified address as a candidate" => (Opening TimedOut), Span::Failure("timeout");
        multicast: "A multicast candidate" => (Opening TimedOut), Span::Failure("timeout");
        broadcast: "The broadcast address as a candidate" => (Opening TimedOut), Span::Failure("timeout");
        port_zero: "A candidate with port 0" => (Opening TimedOut), Span::Failure("timeout");
        hidden_names: "Only an mDNS name that does not resolve" => (Opening TimedOut), Span::Failure("timeout");
        no_udp: "Only TCP candidates" => (Opening TimedOut), Span::Failure("timeout");
        another_family: "Only candidates of a family without a socket" => (Opening TimedOut), Span::Failure("timeout");
        candidates_that_are_no_lines: "60 candidate lines of rubbish" => (Opening TimedOut), Span::Failure("timeout");
        strangers_at_the_base: "Forged checks, garbage and empty datagrams at the base while it checks" => (Opening Opened), Span::Success;
        flood_that_nobody_takes: "More datagrams than our user takes" => (Established Cancelled), Span::Success;
    }
    "Peers whose channel is broken" in channel {
        no_certificate: "A description that names no certificate by its SHA-256 digest" => (Opening ChannelFailed), Span::Failure("channel_failed");
        undecided_role: "An answer that leaves the role in DTLS open" => (Opening ChannelFailed), Span::Failure("channel_failed");
        another_certificate: "Another certificate than it announced" => (Opening ChannelFailed), Span::Failure("channel_failed");
        silent_after_the_checks: "Checks, and no word of DTLS" => (Opening ChannelFailed), Span::Failure("channel_failed");
        stops_after_its_hello: "Stops DTLS after its first flight" => (Opening ChannelFailed), Span::Failure("channel_failed");
        stops_half_way: "Stops half-way through DTLS" => (Opening ChannelFailed), Span::Failure("channel_failed");
        no_sctp: "DTLS stands, and SCTP never comes" => (Opening ChannelFailed), Span::Failure("channel_failed");
        gone_as_the_channel_opens: "Gone the moment the channel is open" => (Established Ended), Span::Success;
        hides_its_addresses: "Nothing but mDNS names in its answer, as browsers have it" => (Opening Opened), Span::Success;
        forged_from_its_address: "Forged DTLS of every class, from its own address" => (Opening Opened), Span::Success;
        packets_that_break_sctp: "Packets of SCTP over which its reader panics, spins or is misled" => (Established Cancelled), Span::Success;
        data_without_data: "100,000 chunks of DATA without a byte" => (Established Cancelled), Span::Success;
        stream_that_nobody_reads: "100,000 messages on a stream without a reader" => (Established Cancelled), Span::Success;
        fragments_without_end: "100,000 fragments of messages that never end" => (Established Cancelled), Span::Success;
        gaps_without_end: "100,000 chunks of DATA with a gap between any two" => (Established Cancelled), Span::Success;
        resets_without_end: "10,000 requests to reset a stream that wait for ever" => (Established Cancelled), Span::Success;
        channels_without_end: "Channel after channel beside ours" => (Established Ended), Span::Success;
    }
    "A signalling service that misbehaves" in service {
        not_there: "Nobody listens at its address" => (Listening ExchangeFailed), Span::None;
        tls: "An `https` URL without a choice of trusted certificates" => ("refused before there is an attempt: `SignalError::Url`"), Span::None;
        another_version: "418 to a listener" => (Listening Refused), Span::None;
        takes_no_listener: "400 to a listener" => (Listening Refused), Span::None;
        fails_a_listener: "500 to a listener" => (Listening Refused), Span::None;
        redirects_a_listener: "A redirect of a listener, which is never followed" => (Listening Refused), Span::None;
        speaks_no_http: "Something else than HTTP" => (Listening ExchangeFailed), Span::None;
        resets_a_listener: "A connection reset, to a listener" => (Listening ExchangeFailed), Span::None;
        never_answers_a_listener: "Silence after a listener's request" => (Listening ExchangeFailed), Span::None;
        drips_its_header: "A header that drips" => (Listening ExchangeFailed), Span::None;
        header_without_end: "A header without end" => (Listening ExchangeFailed), Span::None;
        line_without_end: "A genesis line without end" => (Listening NothingHeard), Span::None;
        lines_of_another_shape: "Genesis lines of another shape, one nested 100,000 deep" => (Listening NothingHeard), Span::None;
        stream_that_breaks: "A stream that breaks within its first line" => (Listening NothingHeard), Span::None;
        broken_line_first: "Broken lines around a good one" => (Listening Chosen), Span::Failure("timeout");
        flood_of_genesis: "Genesis messages without end" => (Listening Chosen), Span::Failure("timeout");
        flood_of_broken_lines: "A good line, then broken ones without end" => (Listening Chosen), Span::Failure("timeout");
        nothing_but_broken_lines: "Broken lines without end" => (Listening NothingHeard), Span::None;
        head_with_the_first_genesis: "Not even a header, until the first producer comes" => (Listening Chosen), Span::Failure("timeout");
        head_with_its_end: "Not even a header, until the listener's time is over" => (Listening NothingHeard), Span::None;
        lost_race: "404 to an offer: the race is lost" => (Offering LostRace), Span::Failure("cancelled");
        empty_reply: "200 and nothing to an offer" => (Offering PeerDied), Span::Failure("cancelled");
        version_that_changes: "418 to an offer" => (Offering Refused), Span::Failure("cancelled");
        takes_no_offer: "400 to an offer" => (Offering Refused), Span::Failure("cancelled");
        fails_an_offer: "500 to an offer" => (Offering Refused), Span::Failure("cancelled");
        redirects_an_offer: "A redirect of an offer, which is never followed" => (Offering Refused), Span::Failure("cancelled");
        reply_that_is_no_json: "A reply that is no JSON" => (Offering BadAnswer), Span::Failure("cancelled");
        reply_of_another_shape: "JSON of another shape" => (Offering BadAnswer), Span::Failure("cancelled");
        reply_of_another_kind: "A reply of another type than an answer" => (Offering BadAnswer), Span::Failure("cancelled");
        reply_that_is_no_text: "A reply that is no UTF-8" => (Offering BadAnswer), Span::Failure("cancelled");
        reply_of_ten_megabytes: "A reply of 10 MB" => (Offering BadAnswer), Span::Failure("cancelled");
        reply_without_end: "A reply without end" => (Offering BadAnswer), Span::Failure("cancelled");
        drips_its_reply: "A reply that drips" => (Offering ExchangeFailed), Span::Failure("cancelled");
        never_answers_an_offer: "Silence after an offer" => (Offering ExchangeFailed), Span::Failure("cancelled");
        never_ends_its_reply: "A reply that stops half-way" => (Offering ExchangeFailed), Span::Failure("cancelled");
        shorter_than_it_says: "A reply shorter than its Content-Length" => (Offering ExchangeFailed), Span::Failure("cancelled");
        longer_than_it_says: "A reply longer than its Content-Length" => (Offering BadAnswer), Span::Failure("cancelled");
        length_that_is_none: "A Content-Length that is no number" => (Offering ExchangeFailed), Span::Failure("cancelled");
        resets_an_offer: "A connection reset, to an offer" => (Offering ExchangeFailed), Span::Failure("cancelled");
        offer_header_without_end: "A header without end, to an offer" => (Offering ExchangeFailed), Span::Failure("cancelled");
        partner_gone: "404 to the candidates: the partner hung up" => (Trickling PartnerGone), Span::Failure("peer_gone");
        version_that_changes_late: "418 to the candidates" => (Trickling Refused), Span::Failure("signalling");
        fails_the_candidates: "500 to the candidates" => (Trickling Refused), Span::Failure("signalling");
        redirects_the_candidates: "A redirect of the candidates" => (Trickling Refused), Span::Failure("signalling");
        resets_the_candidates: "A connection reset, to the candidates" => (Trickling ExchangeFailed), Span::Failure("signalling");
        never_takes_the_candidates: "Silence after the candidates" => (Trickling ExchangeFailed), Span::Failure("signalling");
    }
    "STUN servers that are no help" in stun {
        none_known: "No server is known" => (Preparing NotPrepared), Span::None;
        one_silent: "One of three is silent" => (Opening Opened), Span::Success;
        all_silent: "All are silent" => (Offering UdpBlocked), Span::Failure("udp_blocked");
        all_dead: "All are dead, and their hosts send ICMP errors" => (Offering NoServerAnswered), Span::Failure("no_server_answered");
        no_such_name: "A name that does not resolve" => (Offering NoServerAnswered), Span::Failure("no_server_answered");
        no_route: "An address of a family without a socket" => (Offering NoServerAnswered), Span::Failure("no_server_answered");
        another_id: "Answers with another transaction id" => (Offering NoServerAnswered), Span::Failure("no_server_answered");
        another_source: "Answers from another address" => (Offering NoServerAnswered), Span::Failure("no_server_answered");
        refuses: "An error response whose reason is no UTF-8" => (Offering NoServerAnswered), Span::Failure("no_server_answered");
        impossible_mapping: "Mapped addresses that cannot be: dropped, and UDP is not blocked for all that" => (Opening Opened), Span::Success;
        garbage_for_an_answer: "Truncated, overlong and empty answers" => (Offering NoServerAnswered), Span::Failure("no_server_answered");
        flood: "2,000 forged answers before the true one" => (Opening Opened), Span::Success;
        lies_about_the_mapping: "The mapped address of another host" => (Opening Opened), Span::Success;
        answers_late: "An answer after the deadline" => (Offering NoServerAnswered), Span::Failure("no_server_answered");
    }
    "A host that does strange things" in host {
        address_of_somebody_else: "Bound to an address that is not ours" => (Preparing NotPrepared), Span::None;
        no_descriptor_for_the_base: "No descriptor is left" => (Preparing NotPrepared), Span::None, in host::with_few_descriptors;
        no_descriptor_for_signalling: "No descriptor is left but for the base" => (Listening ExchangeFailed), Span::None, in host::with_few_descriptors;
        suspended_while_checks_run: "The process is suspended for 10 s in state 4" => (Opening TimedOut), Span::Failure("timeout");
        suspended_on_a_path: "The process is suspended for 10 s in state 5" => (Established Cancelled), Span::Success;
        suspended_for_longer_than_consent: "The process is suspended for longer than the peer's consent lasts" => (Established Ended), Span::Success;
        clock_forward_while_checks_run: "The clock steps forward an hour in state 4" => (Opening TimedOut), Span::Failure("timeout"), in host::with_a_clock_that_steps;
        clock_back_while_checks_run: "The clock steps back an hour in state 4" => (Opening TimedOut), Span::Failure("timeout"), in host::with_a_clock_that_steps;
        clock_forward_on_a_path: "The clock steps forward an hour in state 5" => (Established Cancelled), Span::Success, in host::with_a_clock_that_steps;
        clock_back_on_a_path: "The clock steps back an hour in state 5, and no keepalive of ours leaves until it has caught up" => (Established Cancelled), Span::Success, in host::with_a_clock_that_steps;
        clock_back_as_the_peer_vanishes: "The clock steps back an hour as the peer vanishes" => (Established Ended), Span::Success, in host::with_a_clock_that_steps;
        runtime_ends_in_state_1: "The runtime ends in state 1" => ("1 → dropped"), Span::None;
        runtime_ends_in_state_2: "The runtime ends in state 2" => ("2 → dropped"), Span::Failure("cancelled");
        runtime_ends_in_state_4: "The runtime ends in state 4" => ("4 → dropped"), Span::Failure("cancelled");
        runtime_ends_in_state_5: "The runtime ends in state 5" => ("5 → dropped"), Span::Success;
        nat_rebinds: "The NAT forgets our mapping in state 5" => (Established Ended), Span::Success;
    }
    "Given up, at every await there is" in cancellation {
        dropped_on_the_way_to_a_path: "An attempt is dropped, on the way to a path" => ("from each → dropped"), Span::Each("one if a server was asked");
        cancelled_on_the_way_to_a_path: "An attempt is cancelled, on the way to a path" => ("from each → `Cancelled` → stopped"), Span::Each("one if a server was asked");
        dropped_on_the_way_to_a_time_out: "An attempt is dropped, on the way to a time-out" => ("from each → dropped"), Span::Each("one if a server was asked");
        cancelled_on_the_way_to_a_time_out: "An attempt is cancelled, on the way to a time-out" => ("from each → `Cancelled` → stopped"), Span::Each("one if a server was asked");
        dropped_on_the_way_to_a_blocked_network: "An attempt is dropped, on the way to a silent cohort" => ("from each → dropped"), Span::Each("one if a server was asked");
        dropped_on_the_way_to_a_partner_gone: "An attempt is dropped, on the way to a partner that hung up" => ("from each → dropped"), Span::Each("one if a server was asked");
        volunteer_dropped: "`Producer::serve` is dropped while a consumer comes" => ("the consumer's: any"), Span::Each("the consumer's: any");
    }
}

fn find(name: &str) -> &'static Fault {
    FAULTS
        .iter()
        .chain(planted::PLANTED)
        .find(|fault| fault.name == name)
        .unwrap_or_else(|| panic!("no fault is called {name}"))
}

#[test]
#[ignore = "each row starts it with the name of its fault"]
fn walks_the_fault_it_is_told() {
    walk::told();
}
