/** How a part of a text is marked. */
export type Side = "local" | "remote" | "unassigned";

/** The six keys that dashboards group by. */
export interface Legacy {
  nat_is_natted: boolean | null;
  nat_mapping_behavior: string;
  nat_filtering_behavior: string;
  nat_port_preservation: boolean | null;
  nat_type: string;
  nat_external_ip: string | null;
}

/** The verdict on one part. */
export interface Part {
  side: Side;
  type: string;
  /** The rule that decided, or the reason for an unknown. */
  rule: string;
  /** One line for a person, without an address. */
  line: string;
  legacy: Legacy;
  /** `NatSummary` in the form that serde writes. */
  summary: Record<string, unknown>;
  /** `Evidence` in the form that serde writes. */
  evidence: Record<string, unknown>;
}

export interface Judged {
  parts: Part[];
  /** Candidates of a ninth description without a side, or of a later one. */
  left_out: number;
}

/** A gathering, as the events of `RTCPeerConnection` show it. */
export interface Gathering {
  candidates: { candidate: string; url?: string | null }[];
  errors?: { url: string; code: number; text?: string }[];
  /** Servers that were asked. */
  asked?: number;
  /** Whether the gathering is over. */
  complete?: boolean;
}

export interface Judge {
  /** One line, or a line for each side; "" without a candidate. */
  summarize(text: string): string;
  /** Throws a `RangeError` for a text of more than 256 MiB. */
  judge(text: string): Judged;
  /** Throws a `TypeError` for a gathering of another shape. */
  judgeGathered(gathering: Gathering): Judged;
  vocabulary(): { types: string[]; rules: string[] };
}

/** An instance of the module with these bytes. */
export function instantiate(bytes: BufferSource): Promise<Judge>;
/** The module beside this file. */
export function load(): Promise<Judge>;
