//! A world in writing, which shows why a verdict is wrong.

use std::fmt::Write;

use crate::gather::{DEADLINE, Request};
use crate::network::World;

/// The NATs, the ways, the sockets and every request with its end.
pub fn world(world: &World, requests: &[Request]) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "  {line}").expect("a string takes all");
    for (number, nat) in world.nats.iter().enumerate() {
        line(format!(
            "NAT {number}: {:?}, {:?}",
            nat.pool(),
            nat.behaviour()
        ));
    }
    for (number, way) in world.ways.iter().enumerate() {
        line(format!("way {number}: {way:?}"));
    }
    for base in &world.bases {
        line(format!(
            "base {} sends as {:?}",
            base.reported, base.sources
        ));
    }
    line(format!(
        "locals {:?}, event {:?}, loss {} %, stalls at {:?}",
        world.locals, world.event, world.loss, world.stalls_at
    ));
    for request in requests {
        let server = &world.servers[request.server];
        let ended = request.ended.as_ref();
        line(format!(
            "{}: {} to {} ({:?}, {:?}): {:?} {:?}",
            request.sequence,
            world.bases[request.base].reported,
            server.at,
            server.reported,
            server.quirk,
            request.end(DEADLINE),
            ended.map(|ended| (ended.at, ended.reply, &ended.origin))
        ));
    }
    text
}
