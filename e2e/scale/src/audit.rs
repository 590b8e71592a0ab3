//! Requests to the API server, from its audit log. Each line is counted once, whoever asks how often.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// An audit log, and up to where it was read.
#[derive(Clone)]
pub(crate) struct Audit {
    path: PathBuf,
    read: u64,
}

/// Requests of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Requests {
    pub(crate) total: u64,
    /// By `VERB RESOURCE[/SUBRESOURCE]`, with ` (dry run)` behind it for those that change nothing.
    pub(crate) by_kind: BTreeMap<String, u64>,
    /// Of these, those that were answered by 400 or more, with the code behind their kind.
    pub(crate) refused: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    #[serde(rename = "requestURI", default)]
    uri: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    subresource: Option<String>,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl Audit {
    /// A log from its start.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// Requests by user since the last call, or since the log's start.
    pub(crate) fn since_last(&mut self) -> anyhow::Result<BTreeMap<String, Requests>> {
        let path = || self.path.display().to_string();
        let mut log = BufReader::new(File::open(&self.path).with_context(path)?);
        log.seek(SeekFrom::Start(self.read)).with_context(path)?;
        let (mut users, mut line) = (BTreeMap::<String, Requests>::new(), String::new());
        loop {
            line.clear();
            let length = log.read_line(&mut line).with_context(path)?;
            // The last one may not be whole yet.
            if !line.ends_with('\n') {
                return Ok(users);
            }
            self.read += length as u64;
            let line: Line = serde_json::from_str(&line).with_context(|| format!("{}: {line}", path()))?;
            if line.counts() {
                users.entry(line.user.username.clone()).or_default().enter(&line);
            }
        }
    }
}

impl Line {
    /// A watch has two lines, its start and its end.
    fn counts(&self) -> bool {
        self.stage == if self.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" }
    }

    fn kind(&self) -> String {
        let what = match &self.object_ref {
            Some(ObjectRef { resource, subresource: Some(part) }) => format!("{resource}/{part}"),
            Some(ObjectRef { resource, .. }) => resource.clone(),
            None => self.uri.split('?').next().unwrap_or_default().to_owned(),
        };
        let dry = if self.uri.contains("dryRun=All") { " (dry run)" } else { "" };
        format!("{} {what}{dry}", self.verb)
    }
}

impl Requests {
    fn enter(&mut self, line: &Line) {
        self.total += 1;
        let kind = line.kind();
        if let Some(ResponseStatus { code: code @ 400.. }) = line.response_status {
            *self.refused.entry(format!("{kind} {code}")).or_default() += 1;
        }
        *self.by_kind.entry(kind).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(stage: &str, verb: &str, more: &str) -> String {
        format!(
            r#"{{"kind":"Event","stage":"{stage}","verb":"{verb}","user":{{"username":"controller"}},{more}}}"#
        )
    }

    #[test]
    fn each_request_is_counted_once() {
        let path = std::env::temp_dir().join(format!("rayfleet-scale-audit-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let pods =
            r#""requestURI":"/api/v1/pods","objectRef":{"resource":"pods"},"responseStatus":{"code":200}"#;
        let dry = r#""requestURI":"/apis/ray.io/v1/rayclusters?dryRun=All","objectRef":{"resource":"rayclusters"},"responseStatus":{"code":422}"#;
        let status = r#""requestURI":"/x","objectRef":{"resource":"fleets","subresource":"status"},"responseStatus":{"code":200}"#;
        writeln!(file, "{}", line("ResponseStarted", "watch", pods)).unwrap();
        writeln!(file, "{}", line("ResponseComplete", "watch", pods)).unwrap();
        writeln!(file, "{}", line("ResponseComplete", "create", dry)).unwrap();
        let last = line("ResponseComplete", "patch", status);
        let (begins, ends) = last.split_at(40);
        write!(file, "{begins}").unwrap();
        let mut audit = Audit::new(path.clone());
        let first = audit.since_last().unwrap().remove("controller").unwrap();
        writeln!(file, "{ends}").unwrap();
        let second = audit.since_last().unwrap().remove("controller").unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(first.total, 2);
        assert_eq!(first.refused, BTreeMap::from([("create rayclusters (dry run) 422".to_owned(), 1)]));
        let kinds =
            BTreeMap::from([("watch pods".to_owned(), 1), ("create rayclusters (dry run)".to_owned(), 1)]);
        assert_eq!(first.by_kind, kinds);
        assert_eq!(second.by_kind, BTreeMap::from([("patch fleets/status".to_owned(), 1)]));
    }
}
