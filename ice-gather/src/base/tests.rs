//! What the clones of a base share, on real sockets.

use super::*;

#[tokio::test]
async fn the_port_of_a_base_is_used_from_its_first_to_its_last_day() {
    let base = Base::bind(BindConfig::address([127, 0, 0, 1].into()))
        .await
        .unwrap();
    let port = base.local_addrs().next().unwrap().port();
    assert!(recent_ports::is_used(port));
    recent_ports::forget(port);
    assert!(!recent_ports::is_used(port));
    drop(base);
    assert!(recent_ports::is_used(port));
}
