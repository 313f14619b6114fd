"""Keeps addresses in the collector: what leaves it names networks at most.

A processor of traces, metrics and logs for rotel. `nat_external_ip` becomes the /24 or /48 (of a 6to4 address, which
carries an IPv4 address within its first 48 bits, the /40), as `ExternalIp::Prefix` would have sent it; with
NAT_EXTERNAL_IP=omit it is taken out. No other attribute of otel-nat may hold an address: one with an address in it is
taken out, and so is a value that is neither text, nor a number, nor a boolean.

Everything else may come from other parts of a program: resources, scopes, events, links, exemplars, names, messages and
bodies. Each address in a text there becomes its network in the same way. A list with an address in it is taken out, and so
are bytes, because an address may be four of them. The schema URL of a resource alone passes as it came, because rotel lets
no processor change it.
"""

import functools
import ipaddress
import os
import re

from rotel_sdk.open_telemetry.common.v1 import AnyValue, KeyValue

KEY = "nat_external_ip"
OURS = ("nat_", "nat_telemetry.", "error.type", "network.")
OMIT = os.environ.get("NAT_EXTERNAL_IP", "prefix") == "omit"
OMITTED = "(address)"
# Each is bounded or a single run of characters: a text of any length costs as much as it is long.
V6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?(?!\w)")
V4 = re.compile(r"(?<![0-9])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?(?![0-9])")
# within the name of a host
HYPHENS = re.compile(r"(?<![0-9])[0-9]{1,3}(?:-[0-9]{1,3}){3}(?![0-9])")


@functools.lru_cache
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


def stand_in(text, plain):
    """What stands in for a text: the network, if what is plain is an address."""
    told = network(plain)
    if told is None or told in ("::/48", "0.0.0.0/24"):
        return text
    return OMITTED if OMIT else told


def v6(match):
    text = match.group()
    if text.count(":") < 2:
        return text
    # the end of a sentence, or a port: with it, an address reads as none or as another one
    for plain in (text, text.rstrip(".:"), text.rpartition(":")[0]):
        if network(plain) is not None:
            return stand_in(text, plain)
    return text


def v4(match):
    # zeros in front are none to a parser, and a person reads the address all the same
    return stand_in(match.group(), re.sub(r"\b0+(?=[0-9])", "", match.group()))


def hyphens(match):
    return stand_in(match.group(), match.group().replace("-", "."))


def redacted(text):
    """The text with networks in place of addresses."""
    return HYPHENS.sub(hyphens, V4.sub(v4, V6.sub(v6, text)))


def holds_address(value):
    """Whether there is an address in it, however deep, or anything that may be one."""
    if value is None or isinstance(value, (bool, int, float)):
        return False
    if isinstance(value, str):
        return redacted(value) != value or network(value) is not None
    if isinstance(value, list):  # bytes, to rotel
        return True
    if isinstance(value, KeyValue):
        return holds_address(value.key) or holds_address(value.value)
    if isinstance(value, AnyValue):
        return holds_address(value.value)
    return any(map(holds_address, value))


def kept(attribute):
    """The attribute as it may leave, or None."""
    value = attribute.value.value
    if attribute.key == KEY:
        told = None if OMIT or not isinstance(value, str) else network(value)
        return None if told is None else KeyValue.new_string_value(KEY, told)
    if holds_address(attribute.key):
        return None
    if attribute.key.startswith(OURS):
        is_plain = isinstance(value, (str, bool, int, float))
        return attribute if is_plain and not holds_address(value) else None
    if isinstance(value, str):
        told = redacted(value)
        return attribute if told == value else KeyValue.new_string_value(attribute.key, told)
    return None if holds_address(value) else attribute


def attributes(of):
    """Keeps what may leave, in place."""
    for place in reversed(range(len(of))):
        attribute = of[place]
        try:
            told = kept(attribute)
        except BaseException:  # a value that is not there is a panic of rotel's, which would end it
            told = None
        if told is None:
            del of[place]
        elif told is not attribute:
            of[place] = told


def texts(of, *fields):
    """Takes the addresses out of texts that are no attributes; whether there were any."""
    found = False
    for field in fields:
        text = getattr(of, field)
        told = redacted(text)
        if told != text:
            setattr(of, field, told)
            found = True
    return found


def scopes(of, parts):
    """The parts of each scope, its resource, scope and schema redacted by then."""
    if of.resource is not None:
        attributes(of.resource.attributes)
    for place in range(len(parts)):
        scoped = parts[place]
        if texts(scoped, "schema_url"):
            parts[place] = scoped  # without this, rotel sends the one that came
        if scoped.scope is not None:
            texts(scoped.scope, "name", "version")
            attributes(scoped.scope.attributes)
        yield scoped


def process_spans(resource_spans):
    for scoped in scopes(resource_spans, resource_spans.scope_spans):
        for span in scoped.spans:
            texts(span, "name", "trace_state")
            attributes(span.attributes)
            for event in span.events:
                texts(event, "name")
                attributes(event.attributes)
            for link in span.links:
                texts(link, "trace_state")
                attributes(link.attributes)
            if span.status is not None:
                texts(span.status, "message")


def process_metrics(resource_metrics):
    for scoped in scopes(resource_metrics, resource_metrics.scope_metrics):
        for metric in scoped.metrics:
            texts(metric, "name", "description", "unit")
            attributes(metric.metadata)
            for point in metric.data[0].data_points if metric.data is not None else ():
                attributes(point.attributes)
                # a summary has none
                for exemplar in getattr(point, "exemplars", ()):
                    attributes(exemplar.filtered_attributes)


def process_logs(resource_logs):
    for scoped in scopes(resource_logs, resource_logs.scope_logs):
        for record in scoped.log_records:
            texts(record, "severity_text", "event_name")
            attributes(record.attributes)
            if record.body is not None:
                record.body = body(record.body)


def body(of):
    """What a log record says, without addresses."""
    try:
        if isinstance(of.value, str):
            return AnyValue(redacted(of.value))
        return AnyValue(OMITTED) if holds_address(of.value) else of
    except BaseException:
        return AnyValue(OMITTED)
