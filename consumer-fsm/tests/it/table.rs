//! The machine as a committed table and as a graph: every pair of state and event, and nothing
//! stale.

use std::collections::BTreeMap;
use std::fmt::Write;

use consumer_fsm::{Action, Ending, Event, State, next};

use crate::golden;

fn name(state: State) -> String {
    state.number().map_or_else(
        || format!("{state:?}"),
        |number| format!("{number} {state:?}"),
    )
}

fn action(action: Action) -> String {
    match action {
        Action::Report(Ending::Success) => "report success".into(),
        Action::Report(Ending::Failure(reason)) => format!("report {reason}"),
        Action::AnnouncePath => "announce path".into(),
        Action::AnnounceNoPath => "announce no path".into(),
        Action::DropCohort => "drop cohort".into(),
        Action::Close => "close".into(),
        Action::Pause => "pause".into(),
        Action::BackOff => "back off".into(),
    }
}

#[test]
fn every_pair_of_state_and_event_is_the_one_that_is_committed() {
    let mut table = String::from(
        "Every pair of state and event: the state after it, and what to do, in order. `-`: cannot happen.\n\
         A report goes out at most once per attempt, and only if a STUN server was asked.\n",
    );
    for state in State::ALL {
        writeln!(table, "\n{}", name(state)).unwrap();
        for event in Event::ALL {
            let event_name = format!("{event:?}");
            let to = next(state, event).map_or_else(
                || "-".to_owned(),
                |step| {
                    let actions: Vec<String> = step.actions.iter().map(|a| action(*a)).collect();
                    format!("{:<14} {}", name(step.state), actions.join(", "))
                },
            );
            writeln!(table, "{}", format!("  {event_name:<16} {to}").trim_end()).unwrap();
        }
    }
    golden::compare("docs/machine.txt", &table);
}

/// Where each state's box is: the way to a path goes down, the ways back are arcs on the left, to
/// the end on the right.
const TOP: i32 = 30;
const STEP: i32 = 118;
const CENTRE: i32 = 430;
const HALF_WIDTH: i32 = 80;
const HALF_HEIGHT: i32 = 21;

fn y(state: State) -> i32 {
    let row = State::ALL.iter().position(|s| *s == state).unwrap();
    TOP + HALF_HEIGHT + STEP * i32::try_from(row).unwrap()
}

/// The graph of the table.
fn graph() -> String {
    let mut edges: BTreeMap<(State, State), Vec<Event>> = BTreeMap::new();
    for from in State::ALL {
        for event in Event::ALL {
            if let Some(step) = next(from, event) {
                edges.entry((from, step.state)).or_default().push(event);
            }
        }
    }
    let height = y(State::Stopped) + HALF_HEIGHT + TOP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 {height}\" width=\"860\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\" aria-label=\"The states and what leads from one to the \
         other\">\n<defs><marker id=\"to\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#777\"/></marker></defs>\n\
         <rect width=\"860\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    // arcs of one side lie within each other: the shorter inside
    let mut arcs_on_the_left = 0;
    for ((from, to), events) in &edges {
        edge(&mut svg, *from, *to, events, &mut arcs_on_the_left);
    }
    for state in State::ALL {
        let fill = match state {
            State::Established => "#d7f0d7",
            State::Stopped => "#eee",
            _ => "#e4ecf7",
        };
        writeln!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"{fill}\" stroke=\"#777\"/>\
             <text x=\"{CENTRE}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\" fill=\"#222\">{}</text>",
            CENTRE - HALF_WIDTH,
            y(state) - HALF_HEIGHT,
            2 * HALF_WIDTH,
            2 * HALF_HEIGHT,
            y(state) + 4,
            name(state)
        )
        .unwrap();
    }
    svg + "</svg>\n"
}

fn edge(svg: &mut String, from: State, to: State, events: &[Event], arcs_on_the_left: &mut i32) {
    let (start, end) = (y(from), y(to));
    let stroke = "fill=\"none\" stroke=\"#777\" marker-end=\"url(#to)\"";
    let names: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
    if to == State::Stopped {
        // all of them by cancellation: one line at the right takes them up
        let x = CENTRE + HALF_WIDTH;
        writeln!(svg, "<path d=\"M{x} {start}H820V{end}H{x}\" {stroke}/>").unwrap();
        text(svg, 812, start - 6, "end", &names);
    } else if from == to {
        let x = CENTRE + HALF_WIDTH;
        writeln!(
            svg,
            "<path d=\"M{x} {}c50 -14 50 28 0 16\" {stroke}/>",
            start + 2
        )
        .unwrap();
        text(svg, x + 44, start + 16, "start", &names);
    } else if end > start {
        writeln!(
            svg,
            "<path d=\"M{CENTRE} {}V{}\" {stroke}/>",
            start + HALF_HEIGHT,
            end - HALF_HEIGHT
        )
        .unwrap();
        text(
            svg,
            CENTRE - 8,
            i32::midpoint(start, end) + 4,
            "end",
            &names,
        );
    } else if start - end == STEP {
        let x = CENTRE + 50;
        writeln!(
            svg,
            "<path d=\"M{x} {}V{}\" {stroke}/>",
            start - HALF_HEIGHT,
            end + HALF_HEIGHT
        )
        .unwrap();
        text(svg, x + 8, i32::midpoint(start, end) + 2, "start", &names);
    } else {
        *arcs_on_the_left += 1;
        let x = CENTRE - HALF_WIDTH;
        let out = 60 + 34 * *arcs_on_the_left;
        let (start, end) = (start - 8, end + 12 - 4 * *arcs_on_the_left);
        writeln!(
            svg,
            "<path d=\"M{x} {start}C{} {start} {} {end} {x} {end}\" {stroke}/>",
            x - out,
            x - out
        )
        .unwrap();
        text(svg, x - 10, start + 14, "end", &names);
    }
}

/// Lines of text, of so many names each.
fn text(svg: &mut String, x: i32, y: i32, anchor: &str, names: &[String]) {
    for (line, names) in (0..).zip(names.chunks(2)) {
        let y = y + 14 * line;
        writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"#444\" stroke=\"#fff\" \
             stroke-width=\"4\" paint-order=\"stroke\">{}</text>",
            names.join(", ")
        )
        .unwrap();
    }
}

#[test]
fn the_graph_is_drawn_from_the_table() {
    golden::compare("docs/machine.svg", &graph());
}
