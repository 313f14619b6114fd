//! A STUN server in every manner there is.

use std::net::SocketAddr;
use std::time::Duration;

use ice_gather::responder::success;
use ice_gather::stun::Header;
use tokio::net::UdpSocket;

use super::plan::Manner;

pub(super) async fn serve(socket: UdpSocket, manner: Manner) {
    let mut buffer = [0; 1500];
    loop {
        // an error is news of an earlier answer
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let Some(header) =
            Header::peek(&buffer[..length]).filter(|header| header.is_binding_request())
        else {
            continue;
        };
        if let Manner::Slow(delay) = manner {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        for datagram in answers(manner, header.id, source) {
            let _ = socket.send_to(&datagram, source).await;
        }
    }
}

fn answers(manner: Manner, id: [u8; 12], source: SocketAddr) -> Vec<Vec<u8>> {
    let wrong = |n: u8| {
        let mut wrong = id;
        wrong[0] ^= n | 1;
        success(wrong, source)
    };
    match manner {
        Manner::Dead => vec![],
        Manner::Honest | Manner::Slow(_) => vec![success(id, source)],
        Manner::Lying => vec![success(id, SocketAddr::from(([203, 0, 113, 66], 666)))],
        Manner::WrongId => vec![wrong(1)],
        Manner::Impossible => vec![success(id, SocketAddr::from(([0, 0, 0, 0], 9)))],
        Manner::Garbage => vec![
            b"\x80 no STUN at all".to_vec(),
            success(id, source)[..22].to_vec(),
        ],
        Manner::Flooding => (0..40).map(wrong).chain([success(id, source)]).collect(),
    }
}
