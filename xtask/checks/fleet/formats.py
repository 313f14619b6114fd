"""The formats of files whose own programs are in no package registry: SigNoz' dashboards, the configuration of OpenTelemetry's
collector, a registry for weaver. Each names the keys that its program's source allows, of November 2026."""

import re

import yaml

# Of SigNoz' schema v6, the parts that the dashboard uses: the keys that each object needs, and those that it may have.
# SigNoz refuses other keys. From pkg/types/dashboardtypes of its source, because there is no package of its types.
V6 = {
    "dashboard": ("schemaVersion name tags spec", "image"),
    "spec": ("display panels layouts", "variables duration refreshInterval datasources links"),
    "display": ("name", "description"),
    "tag": ("key value", ""),
    "panel": ("kind spec", ""),
    "panel spec": ("display plugin queries", "links"),
    "plugin": ("kind spec", ""),
    "signoz/TimeSeriesPanel": ("", "visualization formatting chartAppearance axes legend thresholds"),
    "signoz/TablePanel": ("", "visualization formatting thresholds"),
    "formatting": ("", "unit decimalPrecision"),
    "axes": ("", "softMin softMax isLogScale"),
    "query": ("kind spec", ""),
    "query spec": ("plugin", "name"),
    "signoz/ClickHouseSQL": ("name query", "disabled legend"),
    "layout": ("kind spec", ""),
    "layout spec": ("items", "display repeatVariable"),
    "item": ("x y width height content", ""),
}


def dashboard(page):
    """Every way in which a dashboard is not of SigNoz' schema v6."""
    faults = []

    def has_keys(name, of, where=""):
        needed, others = (set(keys.split()) for keys in V6.get(name, ("", "")))
        found = set(of) if isinstance(of, dict) else {of}
        if name not in V6 or needed - found or found - needed - others:
            faults.append(f"{where or name}: {sorted(found, key=str)} are not the keys of {name}")
        return of

    spec = has_keys("spec", has_keys("dashboard", page)["spec"])
    if page["schemaVersion"] != "v6" or not re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", page["name"]):
        faults.append("the version or the name")
    has_keys("display", spec["display"])
    for tag in page["tags"]:
        has_keys("tag", tag)
    for identity, panel in spec["panels"].items():
        inner = has_keys("panel spec", has_keys("panel", panel, identity)["spec"], identity)
        has_keys("display", inner["display"], identity)
        plugin = has_keys("plugin", inner["plugin"], identity)
        for name, of in has_keys(plugin["kind"], plugin["spec"], identity).items():
            has_keys(name, of, identity)
        query = has_keys("query", inner["queries"][0], identity)
        asked = has_keys("plugin", has_keys("query spec", query["spec"], identity)["plugin"], identity)
        has_keys(asked["kind"], asked["spec"], identity)
        expected = {"signoz/TimeSeriesPanel": "time_series", "signoz/TablePanel": "scalar"}[plugin["kind"]]
        if len(inner["queries"]) != 1 or query["kind"] != expected or panel["kind"] != "Panel":
            faults.append(f"{identity}: not one query of the kind {expected}")
    taken = []
    for layout in spec["layouts"]:
        for item in has_keys("layout spec", has_keys("layout", layout)["spec"])["items"]:
            has_keys("item", item)
            taken += [(x, y) for x in range(item["x"], item["x"] + item["width"]) for y in range(item["y"], item["y"] + item["height"])]
    placed = [item["content"]["$ref"].removeprefix("#/spec/panels/") for layout in spec["layouts"] for item in layout["spec"]["items"]]
    if sorted(placed) != sorted(spec["panels"]) or len(set(taken)) != len(taken) or any(not 0 <= x < 12 for x, _ in taken):
        faults.append("panels are not placed once each, beside each other within twelve columns")
    return faults


# The settings that the collector's files use, of those that config.schema.yaml of each component has.
COMPONENTS = {
    "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": str}, "http": {"endpoint": str}}}},
    "processors": {
        "batch": {"send_batch_size": int, "timeout": str},
        "probabilistic_sampler": {"mode": ["hash_seed", "equalizing", "proportional"], "sampling_percentage": int, "fail_closed": bool},
    },
    "connectors": {
        "routing": {
            "default_pipelines": [str], "error_mode": ["ignore", "propagate"],
            "table": [{"context": ["resource", "span"], "condition": str, "pipelines": [str]}],
        },
        "spanmetrics": {
            "namespace": str, "dimensions": [{"name": str, "default": str}], "aggregation_cardinality_limit": int,
            "histogram": {"unit": ["s", "ms"], "explicit": {"buckets": [str]}},
        },
    },
    "exporters": {
        "clickhouse": {"endpoint": str, "database": str, "create_schema": bool, "ttl": str, "username": str, "password": str},
        "prometheus": {"endpoint": str, "namespace": str},
    },
}


def unlike(value, schema, where):
    """Where a value is not of a schema: a type, words, a list of one kind, or settings by name."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{where} has no settings"]
        unknown = [f"{where} has no {key}" for key in value if key not in schema]
        return unknown + [fault for key in value if key in schema for fault in unlike(value[key], schema[key], f"{where}.{key}")]
    if isinstance(schema, list) and isinstance(schema[0], str):
        return [] if value in schema else [f"{where}: {value} is none of {schema}"]
    if isinstance(schema, list):
        items = value if isinstance(value, list) else [None]
        return [fault for item in items for fault in unlike(item, schema[0], where)]
    return [] if isinstance(value, schema) else [f"{where}: {value!r} is not of {schema.__name__}"]


def collector(text):
    """Every way in which a file is not a configuration of the collector, as far as this schema goes."""
    page = yaml.safe_load(text)
    service = page.pop("service")
    faults = unlike(page, COMPONENTS, "collector")
    used = {"receivers": set(), "processors": set(), "exporters": set()}
    for name, pipeline in service["pipelines"].items():
        ends = {"receivers": {**page["receivers"], **page.get("connectors", {})}, "processors": page.get("processors", {}),
                "exporters": {**page["exporters"], **page.get("connectors", {})}}
        for role, named in pipeline.items():
            used[role] |= set(named)
            faults += [f"{name}: there is no {component}" for component in named if component not in ends[role]]
        if name.partition("/")[0] not in ("traces", "metrics", "logs"):
            faults.append(f"{name} is no pipeline")
    # a connector is the end of one pipeline and the beginning of another
    for section, ends in {**{role: [role] for role in used}, "connectors": ["receivers", "exporters"]}.items():
        faults += [f"no pipeline has {name} among its {role}" for role in ends for name in page.get(section, {}) if name not in used[role]]
    routing = page.get("connectors", {}).get("routing", {"default_pipelines": [], "table": []})
    led = routing["default_pipelines"] + [name for route in routing["table"] for name in route["pipelines"]]
    return faults + [f"routing leads to {name}" for name in led if name not in service["pipelines"]]


def collectors(folder):
    return [f"{path.name}: {fault}" for path in sorted(folder.glob("*.yaml")) for fault in collector(path.read_text())]


# Of weaver's schemas/semconv.schema.json: the kinds of groups with what each needs, and what a group and an attribute may have.
GROUPS = {"attribute_group": "attributes", "span": "span_kind stability attributes", "metric": "metric_name instrument unit stability"}
GROUP = set("id type brief note extends attributes display_name deprecated stability annotations entity_associations name".split())
ATTRIBUTE = set("id type stability brief note examples requirement_level sampling_relevant annotations role deprecated".split())
STABILITY = {"stable", "development", "alpha", "beta", "release_candidate"}
LEVELS = {"required", "recommended", "opt_in", "conditionally_required"}
WORDS = {"span_kind": "client server producer consumer internal", "instrument": "counter gauge histogram updowncounter"}
TYPES = {f"{kind}{many}" for kind in ("string", "int", "double", "boolean") for many in ("", "[]")}


def attribute(one):
    """Whether an attribute of a group is one, defined or by reference."""
    level = one.get("requirement_level", "required")
    levels = set(level) if isinstance(level, dict) else {level}
    if "ref" in one:
        return levels <= LEVELS and not set(one) - ATTRIBUTE - {"ref", "tag"}
    kind = one.get("type")
    members = kind.get("members", []) if isinstance(kind, dict) else []
    is_closed = isinstance(kind, dict) and set(kind) == {"members"} and all(
        {"id", "value", "stability"} <= set(member) <= {"id", "value", "stability", "brief", "note", "deprecated"} for member in members
    )
    stable = {one.get("stability"), *(member.get("stability") for member in members)}
    return (is_closed or str(kind) in TYPES) and "id" in one and stable <= STABILITY and levels <= LEVELS and not set(one) - ATTRIBUTE


def registry(path):
    """Every group and attribute that weaver's schema refuses."""
    page = yaml.safe_load(path.read_text())
    faults = [] if set(page) == {"groups"} else ["a registry holds groups alone"]
    for group in page["groups"]:
        needed = {"id", "type", "brief", *GROUPS.get(group["type"], "no such type").split()}
        allowed = GROUP | needed
        if needed - set(group) or set(group) - allowed or group.get("stability", "stable") not in STABILITY:
            faults.append(f"{group['id']}: {sorted(group)} are not the keys of a group of the type {group['type']}")
        faults += [f"{group['id']}: {group[key]}" for key, words in WORDS.items() if key in group and group[key] not in words.split()]
        faults += [f"{group['id']}: {one}" for one in group.get("attributes", []) if not attribute(one)]
    return faults
