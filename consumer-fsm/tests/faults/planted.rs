//! Walks that leave something behind, or end otherwise than they say: a check that does not see
//! them proves nothing.

use consumer_fsm::{Event, State};

use crate::fault::{Fault, LeadsTo, Span};
use crate::stage::{Stage, Until, memory};

const fn planted(name: &'static str, stage: crate::fault::Staged) -> Fault {
    let leads_to = LeadsTo::Each("nowhere");
    Fault {
        group: "",
        name,
        what: "",
        leads_to,
        span: Span::None,
        wrapper: None,
        stage,
    }
}

pub(crate) const PLANTED: &[Fault] = &[
    planted("planted::byte", |_| {
        Box::pin(async { std::mem::forget(Box::new(1_u8)) })
    }),
    planted("planted::task", |_| {
        Box::pin(async { drop(tokio::spawn(std::future::pending::<()>())) })
    }),
    planted("planted::descriptor", |_| {
        Box::pin(async { std::mem::forget(std::fs::File::open("/dev/null").unwrap()) })
    }),
    planted("planted::memory", |_| Box::pin(much())),
    Fault {
        span: Span::Success,
        ..planted("planted::span", |stage| Box::pin(nothing(stage)))
    },
    Fault {
        leads_to: LeadsTo::Event(State::Opening, Event::Opened),
        ..planted("planted::transition", |stage| Box::pin(nothing(stage)))
    },
];

async fn much() {
    let _much = vec![1_u8; 8 << 20];
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
}

async fn nothing(stage: &Stage) {
    stage
        .attempt(&mut stage.consumer(memory(), &[]), Until::End)
        .await;
}
