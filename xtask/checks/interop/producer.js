// A producer in JavaScript, for a browser and for werift alike: announces itself, answers one consumer after the other,
// sends every datagram back. Whoever loads this gives `connect(stun)` and `onChannel(connection, heard)`.

const GENESIS = JSON.stringify({ PathAssertion: { Allow: [{ Host: "*", Distance: 1 }], Deny: null } });

/** One message, and the reply to it; null if there is none. */
async function exchange(signal, sendTo, kind, data) {
  const response = await fetch(signal, {
    method: "POST",
    headers: { "X-BF-Version": "v2.3.1", "Content-Type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ data, "send-to": sendTo, type: String(kind) }),
  });
  const body = await response.text();
  return response.ok && body ? JSON.parse(body) : null;
}

function candidateLine(c) {
  const related = c.relatedAddress ? ` raddr ${c.relatedAddress} rport ${c.relatedPort}` : "";
  return `candidate:${c.foundation} ${c.component} udp ${c.priority} ${c.address} ${c.port} typ ${c.type}${related}`;
}

async function serve(signal, peer) {
  const offer = await exchange(signal, "genesis", 0, GENESIS);
  if (!offer) return;
  const connection = peer.connect();
  const ended = peer.echo(connection);
  await connection.setRemoteDescription(JSON.parse(offer.Payload).SDP);
  await connection.setLocalDescription(await connection.createAnswer());
  await peer.gathered(connection);
  const { type, sdp } = connection.localDescription;
  const ice = await exchange(signal, offer.ReplyTo, 2, JSON.stringify({ type, sdp }));
  if (ice) {
    for (const c of JSON.parse(ice.Payload).Candidates) {
      await connection.addIceCandidate({ candidate: candidateLine(c), sdpMid: "0", sdpMLineIndex: 0 });
    }
    await ended;
  }
  await connection.close();
}

async function produce(signal, peer) {
  for (;;) await serve(signal, peer);
}
