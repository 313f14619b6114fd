//! Peers that vanish, in every state.

use consumer_fsm::Event;

use crate::stage::{Leaves, Peer, Stage, Until, memory, responders};

pub(crate) async fn nobody_there(stage: &Stage) {
    let stun = responders(1, ice_gather::responder::Manner::Honest).await;
    stage
        .attempt(
            &mut stage.consumer(memory(), &stun),
            Until::Milliseconds(500),
        )
        .await;
}

pub(crate) async fn after_genesis(stage: &Stage) {
    let stun = responders(2, ice_gather::responder::Manner::Honest).await;
    let signalling = memory();
    let _peer = Peer::that_leaves(Leaves::AfterGenesis).start(signalling.clone());
    // longer than the producer announces itself, so that the chosen producer is gone
    let mut times = stage.timing;
    times.patience = std::time::Duration::from_millis(60);
    let mut consumer = stage.consumer(signalling, &stun).with_timing(times);
    stage
        .attempt(&mut consumer, Until::Happened(Event::LostRace))
        .await;
}

pub(crate) async fn after_the_offer(stage: &Stage) {
    stage
        .meets(
            Until::Milliseconds(500),
            Peer::that_leaves(Leaves::AfterOffer),
        )
        .await;
}

pub(crate) async fn after_the_answer(stage: &Stage) {
    stage
        .meets(Until::End, Peer::that_leaves(Leaves::AfterAnswer))
        .await;
}

pub(crate) async fn after_the_candidates(stage: &Stage) {
    stage
        .meets(Until::End, Peer::that_leaves(Leaves::AfterCandidates))
        .await;
}

pub(crate) async fn while_checks_run(stage: &Stage) {
    stage
        .meets(Until::End, Peer::that_leaves(Leaves::WhileChecking))
        .await;
}

pub(crate) async fn as_soon_as_it_is_up(stage: &Stage) {
    let report = stage
        .meets(Until::End, Peer::that_leaves(Leaves::OnceUp(0)))
        .await;
    assert_eq!(report.last_event, Some(Event::Ended));
}

pub(crate) async fn from_a_path(stage: &Stage) {
    let report = stage
        .meets(Until::End, Peer::that_leaves(Leaves::OnceUp(200)))
        .await;
    assert_eq!(report.last_event, Some(Event::Ended));
}
