//! ClickHouse in a process, with the files of `otel-nat/deploy/clickhouse` applied and filled by a real collector.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::{Failure, bounds, root};
use emitted::rotel::{Role, Rotel};

/// What comes with a repository and not with a release.
const SERVER: &str = "xtask/checks/fleet/clickhouse.py";
const FILES: &str = "otel-nat/deploy/clickhouse";
/// Those of the collector's table, beside the identities of a span.
const COLUMNS: &str = "Timestamp, ParentSpanId, TraceState, SpanName, SpanKind, ServiceName, ResourceAttributes, \
    ScopeName, ScopeVersion, SpanAttributes, Duration, StatusCode, StatusMessage";

/// A server on a free port of loopback. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    python: PathBuf,
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it in an empty folder.
    pub(crate) fn start(python: &Path, folder: &Path) -> Result<Self, Failure> {
        // an error: there is none from an earlier run
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)?;
        let mut child = Command::new(python)
            .arg(root().join(SERVER))
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let Ok(port) = line.trim().parse::<u16>() else {
            let status = child.wait()?;
            return Err(format!("the ClickHouse server ended at once: {status}").into());
        };
        Ok(Self {
            python: python.to_owned(),
            child,
            address: (Ipv4Addr::LOCALHOST, port).into(),
        })
    }

    /// Where its HTTP interface is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The answer to one statement, as text.
    pub(crate) fn ask(&self, statement: &str) -> Result<String, Failure> {
        let mut stream = TcpStream::connect(self.address)?;
        let head = format!(
            "POST /?database=otel HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.address,
            statement.len()
        );
        stream.write_all(&[head.as_bytes(), statement.as_bytes()].concat())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
            _ => Err(format!("ClickHouse refused: {answer}\nin: {statement}").into()),
        }
    }

    /// A number, the answer to one statement.
    pub(crate) fn number(&self, statement: &str) -> Result<f64, Failure> {
        let answer = self.ask(statement)?;
        answer
            .trim()
            .parse()
            .map_err(|_| format!("not a number: {answer}").into())
    }

    /// Applies the files as an operator does.
    pub(crate) fn apply(&self, more: &[&str]) -> Result<(), Failure> {
        let output = Command::new(&self.python)
            .arg(root().join(FILES).join("apply.py"))
            .arg(self.url())
            .args(more)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "apply.py failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into())
    }

    /// Fills it through a collector with the lines of a file: the first part before our files were
    /// applied, so that columns and sums also hold attempts that are older than they are.
    pub(crate) fn fill(&self, rotel: &Path, spans: &Path, attempts: u64) -> Result<(), Failure> {
        self.apply(&["--until", "0001_otel_traces.sql"])?;
        let collector = Rotel::start(rotel, Role::ClickHouse { to: self.address })?;
        let lines: Vec<String> = BufReader::new(std::fs::File::open(spans)?)
            .lines()
            .collect::<Result<_, _>>()?;
        let (first, rest) = lines.split_at(lines.len() / 4);
        first.iter().try_for_each(|line| collector.post(line))?;
        let spans_of = |lines: &[String]| -> u64 {
            let names = lines.iter().map(|line| line.matches("\"spanId\"").count());
            names.sum::<usize>() as u64 - links(lines)
        };
        self.wait_for(spans_of(first))?;
        self.apply(&[])?;
        self.apply(&["--rebuild"])?;
        rest.iter().try_for_each(|line| collector.post(line))?;
        self.wait_for(attempts)
    }

    /// Waits until that many spans are there.
    fn wait_for(&self, spans: u64) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let there = self.ask("SELECT count() FROM otel_traces")?;
            let there: u64 = there.trim().parse().unwrap_or_default();
            if there == spans {
                return Ok(());
            }
            if begun.elapsed() > bounds::FLEET_ARRIVAL || there > spans {
                return Err(format!("{there} of {spans} spans are in ClickHouse").into());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Adds so many copies of each attempt, with identities of their own: in bulk, because the collector would take hours.
    /// Each day is one insert and one part, so that nothing has to be merged; the caller hears of each.
    pub(crate) fn copy(&self, copies: u64, step: impl Fn(&str)) -> Result<(), Failure> {
        let days =
            self.ask("SELECT DISTINCT toDate(Timestamp) AS day FROM otel_traces ORDER BY day")?;
        for day in days.lines() {
            step(day);
            self.ask(&format!(
                "INSERT INTO otel_traces (TraceId, SpanId, {COLUMNS}) \
                 SELECT lower(hex(MD5(concat(TraceId, toString(copy))))), lower(hex(sipHash64(SpanId, copy))), {COLUMNS} \
                 FROM otel_traces ARRAY JOIN range({copies}) AS copy WHERE toDate(Timestamp) = '{day}' \
                 SETTINGS max_insert_threads = 1, min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0"
            ))?;
        }
        Ok(())
    }

    /// Merges the parts, each column into a file of its own: small parts keep all columns in one file, and their sizes are
    /// not known apart.
    pub(crate) fn merge(&self) -> Result<(), Failure> {
        for table in ["otel_traces", "nat_daily_sums"] {
            self.ask(&format!(
                "ALTER TABLE {table} MODIFY SETTING min_bytes_for_wide_part = 0"
            ))?;
            self.ask(&format!("OPTIMIZE TABLE {table} FINAL"))?;
        }
        Ok(())
    }

    /// Writes the attempts to a Parquet file, for DuckDB.
    pub(crate) fn export(&self, to: &Path) -> Result<(), Failure> {
        self.ask(&format!(
            "INSERT INTO FUNCTION file('{}', Parquet) SELECT * FROM nat_attempts \
             SETTINGS engine_file_truncate_on_insert = 1",
            to.display()
        ))?;
        Ok(())
    }

    /// Bytes per attempt with the attributes of each level of `otel_nat::Detail`.
    pub(crate) fn bytes_by_detail(&self) -> Result<BTreeMap<&'static str, f64>, Failure> {
        let contract =
            "k = 'error.type' OR startsWith(k, 'nat_') AND NOT startsWith(k, 'nat_telemetry.')";
        let evidence = format!(
            "{contract} OR startsWith(k, 'network.') \
             OR match(k, '^nat_telemetry[.](rule|servers|bases|observations|base|external|pooling|port|rewritten)')"
        );
        let mut sizes = BTreeMap::new();
        for (detail, kept) in [
            ("contract", contract),
            ("evidence", &*evidence),
            ("all", "true"),
        ] {
            self.ask("CREATE TABLE sized AS otel_traces")?;
            self.ask(&format!(
                "INSERT INTO sized (TraceId, SpanId, {COLUMNS}) SELECT * REPLACE (mapFilter((k, v) -> {kept}, \
                 SpanAttributes) AS SpanAttributes) FROM (SELECT TraceId, SpanId, {COLUMNS} FROM otel_traces)"
            ))?;
            self.ask("OPTIMIZE TABLE sized FINAL")?;
            let bytes = self.number(
                "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts \
                 WHERE active AND database = 'otel' AND table = 'sized'",
            )?;
            sizes.insert(detail, bytes);
            self.ask("DROP TABLE sized")?;
        }
        Ok(sizes)
    }

    /// A view like `nat_attempts` that reads the map of attributes in place of the columns, to compare
    /// with.
    pub(crate) fn add_view_without_columns(&self) -> Result<(), Failure> {
        let columns = std::fs::read_to_string(root().join(FILES).join("0002_columns.sql"))?;
        let view = std::fs::read_to_string(root().join(FILES).join("0003_attempts.sql"))?;
        let (_, body) = view
            .split_once("AS\nSELECT ")
            .ok_or("0003_attempts.sql has no view")?;
        let (selected, from) = body.split_once("FROM ").ok_or("it selects nothing")?;
        let mut selected = selected.replace("traces.nat_type", "nat_type_");
        for line in columns.lines() {
            let Some((name, rest)) = line
                .trim()
                .strip_prefix("ADD COLUMN IF NOT EXISTS ")
                .and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            let name = if name == "nat_type" {
                "nat_type_"
            } else {
                name
            };
            let expression = rest
                .split_once("MATERIALIZED ")
                .and_then(|(_, rest)| rest.rsplit_once(" CODEC"))
                .map(|(expression, _)| expression)
                .ok_or("a column is not materialized")?;
            selected = replace_word(&selected, name, &format!("({expression})"));
        }
        self.ask(&format!(
            "CREATE OR REPLACE VIEW nat_attempts_of_map AS SELECT {selected} FROM {from}"
        ))?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // it ends with its standard input; an error: it ended by itself
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Links have an identity of a span as well.
fn links(lines: &[String]) -> u64 {
    lines
        .iter()
        .map(|line| line.matches("\"links\":[{").count() as u64)
        .sum()
}

/// Replaces a name where it stands alone.
fn replace_word(text: &str, name: &str, by: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        out += before;
        out += if before.ends_with(is_name) || after.starts_with(is_name) {
            name
        } else {
            by
        };
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::replace_word;

    #[test]
    fn a_name_within_another_stays() {
        assert_eq!(
            replace_word("nat_rule, nat_rule_x, anat_rule", "nat_rule", "x"),
            "x, nat_rule_x, anat_rule"
        );
    }
}
