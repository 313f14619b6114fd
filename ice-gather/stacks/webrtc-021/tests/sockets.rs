//! The tap opens no socket. Alone in its process, because it counts those of the process.

use ice_gather::tap::Tap;
use webrtc::peer_connection::PeerConnection;
use webrtc::runtime::default_runtime;
use webrtc_021::{Server, gathering};

/// Sockets that this process has open.
fn sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let is_socket = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    };
    open.flatten().filter(is_socket).count()
}

#[tokio::test]
async fn as_many_sockets_are_open_with_the_tap_as_without() {
    let server = Server::bind([127, 0, 0, 11], None).await.unwrap();
    // the first one also starts the threads of the runtime
    let plain = || default_runtime().unwrap();
    let (_first, _complete) = gathering(plain(), &[&server]).await.unwrap();
    let before = sockets();
    let (without, _complete) = gathering(plain(), &[&server]).await.unwrap();
    let of_plain = sockets() - before;
    let (with, _complete) = gathering(Tap::new(plain()), &[&server]).await.unwrap();
    let of_tap = sockets() - before - of_plain;
    assert!(of_plain > 0);
    assert_eq!(of_tap, of_plain);
    without.close().await.unwrap();
    with.close().await.unwrap();
}
