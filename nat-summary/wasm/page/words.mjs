// The sentences of the page: one for each type and one for each rule. The check of the module fails
// if a word of the judge has no sentence.

export const TYPES = {
  unknown: ["Not known", "The evidence does not decide the type of the NAT."],
  open: ["Open to the Internet", "No NAT translates this host's address. Peers can reach it directly, unless a firewall filters them."],
  cone: ["Cone NAT", "The NAT keeps one mapping for every destination. Direct paths usually work."],
  full_cone: ["Full cone NAT", "The NAT keeps one mapping for every destination and lets every peer in. Direct paths work."],
  address_restricted_cone: ["Address-restricted cone NAT", "The NAT keeps one mapping, and lets in the addresses that this host has sent to. Direct paths usually work."],
  port_restricted_cone: ["Port-restricted cone NAT", "The NAT keeps one mapping, and lets in the ports that this host has sent to. Direct paths work unless the peer's NAT is symmetric."],
  symmetric: ["Symmetric NAT", "The NAT makes another mapping for each destination. Direct paths work only to peers without such a NAT or filter; else a relay is needed."],
  udp_blocked: ["UDP blocked", "No server answered over UDP, and nothing else was heard. A firewall drops UDP."],
};

/** A dependent mapping of a host whose own addresses are hidden. */
export const DEPENDENT = ["A mapping for each destination", "Servers saw different mappings of one socket, as a symmetric NAT makes them. The host's own addresses are hidden, so the type stays open. Direct paths work only to peers without such a NAT or filter; else a relay is needed."];

export const RULES = {
  ports_of_one_server_differ: "Two ports of one server saw different mappings.",
  servers_agree: "Servers at two or more addresses saw the same mapping.",
  servers_differ_ports_agree: "Servers at different addresses saw different mappings, and two ports of one server saw the same.",
  servers_differ: "Servers saw different mappings of one socket.",
  mapped_is_local: "The servers saw the host's own address and port.",
  asked_none_answered: "Servers at two or more addresses timed out, and nothing else was heard.",
  no_reflexive_candidate: "Servers were asked, gathering is complete, and no server's answer is among the candidates.",
  too_few_servers: "Only one server address is certain. A second one could have seen another mapping.",
  crowded: "Some observations had no room, and they may differ.",
  contradictory: "Two servers saw the same mapping and another server saw a different one. No NAT does that: a server's answer is wrong, or the mapping changed meanwhile.",
  seen_from_inside: "The servers are inside a network that may have another NAT further out.",
  several_ways: "The socket may have sent over several networks, and so through several NATs.",
  locals_unknown: "The host's own addresses are not all known.",
  nothing_observed: "No server's answer is in the evidence.",
};

export const SIDES = { local: "This host", remote: "The peer", unassigned: "A description" };
