//! STUN servers that are dead, silent, or lie.

use std::net::SocketAddr;
use std::time::Duration;

use consumer_fsm::StunCache;
use consumer_fsm::signalling::MemorySignalling;
use ice_gather::StunServer;
use ice_gather::responder::{Manner, Responder, success};
use ice_gather::stun::Header;
use tokio::net::UdpSocket;

use crate::stage::{Peer, Running, Stage, Until, memory, responders};

/// The datagrams that a server sends for a request, from its own socket or from another (`true`).
type Replies = Vec<(bool, Vec<u8>)>;

/// A server that answers with the datagrams that `reply` returns.
async fn liar(
    reply: impl Fn([u8; 12], SocketAddr) -> Replies + Send + 'static,
) -> (StunServer, Running) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = StunServer::Address(socket.local_addr().unwrap());
    let serve = async move {
        let mut buffer = [0; 1500];
        loop {
            // a client that is gone is no fault of the server's
            let Ok((length, source)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let Some(header) = Header::peek(&buffer[..length]) else {
                continue;
            };
            for (elsewhere, datagram) in reply(header.id, source) {
                let _ = if elsewhere { &other } else { &socket }
                    .send_to(&datagram, source)
                    .await;
            }
        }
    };
    (server, Running(tokio::spawn(serve)))
}

/// An attempt that asks these servers and meets a good peer.
async fn ask(stage: &Stage, servers: Vec<StunServer>, until: Until) {
    let signalling = memory();
    let _peer = Peer::that_stays().start(signalling.clone());
    stage
        .attempt(
            &mut stage.consumer_of(signalling, StunCache::new(servers)),
            until,
        )
        .await;
}

async fn ask_a_liar(
    stage: &Stage,
    reply: impl Fn([u8; 12], SocketAddr) -> Replies + Send + 'static,
    until: Until,
) {
    let (server, _liar) = liar(reply).await;
    ask(stage, vec![server], until).await;
}

pub(crate) async fn none_known(stage: &Stage) {
    ask(stage, Vec::new(), Until::End).await;
}

pub(crate) async fn one_silent(stage: &Stage) {
    let honest = responders(2, Manner::Honest).await;
    let silent = Responder::bind_with("127.0.0.40:0", Manner::Silent)
        .await
        .unwrap();
    let servers = honest
        .iter()
        .chain([&silent])
        .map(Responder::server)
        .collect();
    ask(stage, servers, Until::Up).await;
}

pub(crate) async fn all_silent(stage: &Stage) {
    let silent = responders(3, Manner::Silent).await;
    ask(
        stage,
        silent.iter().map(Responder::server).collect(),
        Until::End,
    )
    .await;
}

pub(crate) async fn all_dead(stage: &Stage) {
    // each port is bound and closed again, so that no other socket uses it
    let mut closed = Vec::new();
    for _ in 0..3 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        closed.push(StunServer::Address(socket.local_addr().unwrap()));
    }
    ask(stage, closed, Until::End).await;
}

pub(crate) async fn no_such_name(stage: &Stage) {
    ask(
        stage,
        vec!["stun.invalid:3478".parse().unwrap()],
        Until::End,
    )
    .await;
}

pub(crate) async fn no_route(stage: &Stage) {
    ask(
        stage,
        vec!["[2001:db8::1]:3478".parse().unwrap()],
        Until::End,
    )
    .await;
}

pub(crate) async fn another_id(stage: &Stage) {
    ask_a_liar(
        stage,
        |id, source| vec![(false, success(id.map(|byte| !byte), source))],
        Until::End,
    )
    .await;
}

pub(crate) async fn another_source(stage: &Stage) {
    ask_a_liar(
        stage,
        |id, source| vec![(true, success(id, source))],
        Until::End,
    )
    .await;
}

pub(crate) async fn refuses(stage: &Stage) {
    // 420 with a reason that is no UTF-8
    let refusal = |id: [u8; 12]| {
        let mut message = vec![0x01, 0x11, 0, 12, 0x21, 0x12, 0xa4, 0x42];
        message.extend(id);
        message.extend([0, 9, 0, 8, 0, 0, 4, 20, 0xff, 0xfe, 0xfd, 0xfc]);
        message
    };
    ask_a_liar(stage, move |id, _| vec![(false, refusal(id))], Until::End).await;
}

pub(crate) async fn impossible_mapping(stage: &Stage) {
    let nowhere: [SocketAddr; 3] = [
        ([0, 0, 0, 0], 5).into(),
        ([224, 0, 0, 1], 5).into(),
        ([203, 0, 113, 7], 0).into(),
    ];
    ask_a_liar(
        stage,
        move |id, _| nowhere.map(|mapped| (false, success(id, mapped))).to_vec(),
        Until::Up,
    )
    .await;
}

pub(crate) async fn garbage_for_an_answer(stage: &Stage) {
    let replies = |id: [u8; 12], source| {
        let whole = success(id, source);
        let mut overlong = whole.clone();
        overlong[3] = 0xff;
        [
            whole[..19].to_vec(),
            whole[..25].to_vec(),
            overlong,
            vec![0xff; 1400],
            Vec::new(),
        ]
        .map(|d| (false, d))
        .to_vec()
    };
    ask_a_liar(stage, replies, Until::End).await;
}

pub(crate) async fn flood(stage: &Stage) {
    let replies = |id: [u8; 12], source| {
        let forged = |n: u16| {
            let mut id = id;
            id[..2].copy_from_slice(&n.to_be_bytes());
            (n.is_multiple_of(2), success(id, source))
        };
        (0..2_000)
            .map(forged)
            .chain([(false, success(id, source))])
            .collect()
    };
    let (server, _liar) = liar(replies).await;
    // a long time-out, because 2,000 datagrams take a while on a busy machine
    let signalling = MemorySignalling::default();
    let _peer = Peer::that_stays().start(signalling.clone());
    stage
        .attempt(
            &mut stage.patient_consumer(signalling, StunCache::new(vec![server])),
            Until::Up,
        )
        .await;
}

pub(crate) async fn lies_about_the_mapping(stage: &Stage) {
    let replies = |id, _| vec![(false, success(id, ([203, 0, 113, 66], 666).into()))];
    ask_a_liar(stage, replies, Until::Up).await;
}

pub(crate) async fn answers_late(stage: &Stage) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = StunServer::Address(socket.local_addr().unwrap());
    let _late = Running(tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, source)) = socket.recv_from(&mut buffer).await {
            let Some(header) = Header::peek(&buffer[..length]) else {
                continue;
            };
            tokio::time::sleep(Duration::from_millis(400)).await;
            let _ = socket.send_to(&success(header.id, source), source).await;
        }
    }));
    ask(stage, vec![server], Until::End).await;
}
