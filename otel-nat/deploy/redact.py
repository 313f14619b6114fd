"""Keeps addresses in the collector: what leaves it names networks at most.

A trace processor for rotel. `nat_external_ip` becomes the /24 or /48 (of a 6to4 address, which carries an IPv4 address
within its first 48 bits, the /40), as `ExternalIp::Prefix` would have sent it; with NAT_EXTERNAL_IP=omit it is taken
out. No other attribute of otel-nat may hold an address: one that reads as one is taken out, and so is what is neither
text, nor a number, nor a boolean.
"""

import ipaddress
import os

from rotel_sdk.open_telemetry.common.v1 import KeyValue

KEY = "nat_external_ip"
OURS = ("nat_", "nat_telemetry.", "error.type", "network.")
OMIT = os.environ.get("NAT_EXTERNAL_IP", "prefix") == "omit"


def network(text):
    """The network of an address, or of a network; None where it is neither."""
    try:
        interface = ipaddress.ip_interface(text.partition("%")[0])
    except ValueError:
        return None
    if interface.version == 6 and interface.ip.ipv4_mapped:
        interface = ipaddress.ip_interface(interface.ip.ipv4_mapped)
    longest = 24 if interface.version == 4 else 40 if interface.ip.sixtofour else 48
    told = interface.network
    return str(told.supernet(new_prefix=longest) if told.prefixlen > longest else told)


def is_address(text):
    """Whether the text is an address, with or without a port or a prefix length."""
    return network(text) is not None or network(text.rpartition(":")[0].strip("[]")) is not None


def kept(attribute):
    """The attribute as it may leave, or None."""
    if not attribute.key.startswith(OURS):
        return attribute
    try:
        value = attribute.value.value
    except BaseException:  # a value that is not there is a panic of rotel's, which would end it
        return None
    if attribute.key == KEY:
        told = None if OMIT or not isinstance(value, str) else network(value)
        return None if told is None else KeyValue.new_string_value(KEY, told)
    if isinstance(value, str):
        return None if is_address(value) else attribute
    return attribute if isinstance(value, (bool, int, float)) else None


def process_spans(resource_spans):
    for scope_spans in resource_spans.scope_spans:
        for span in scope_spans.spans:
            span.attributes = [told for told in map(kept, span.attributes) if told is not None]
