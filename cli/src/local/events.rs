//! The build as JSON, one object a line, for programs. Text of logs comes as it
//! is: what shows it has to make it safe.

use super::headers::Headers;
use super::lines::Characters;
use super::target::Target;
use super::{End, View};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use tidemill_model::log::{Channel, decode};
use tidemill_model::wire::{Event, Frame};

pub struct Events {
    first: Option<Value>,
    steps: BTreeMap<u32, (String, i64)>,
    logs: BTreeMap<u32, Log>,
    /// All that the worker says of its commands, not the commands alone.
    headers: bool,
}

struct Log {
    step: u32,
    name: String,
    channels: BTreeMap<char, Characters>,
    short: Headers,
}

impl Events {
    pub fn begin(target: &Target, headers: bool) -> Events {
        let commit = target.commit.as_ref();
        let first = json!({
            "event": "build_started",
            "builder": target.builder,
            "tree": target.tree.path,
            "branch": target.stamp.branch,
            "revision": commit.map(|c| &c.id),
            "uncommitted": commit.map(|c| c.uncommitted),
            "properties": target.properties,
        });
        Events { first: Some(first), steps: BTreeMap::new(), logs: BTreeMap::new(), headers }
    }

    fn line(&mut self, value: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if let Some(first) = self.first.take() {
            writeln!(out, "{first}")?;
        }
        writeln!(out, "{value}")
    }

    fn text(&mut self, log: u32, channel: char, text: &str) -> io::Result<()> {
        let Some(known) = self.logs.get(&log).filter(|_| !text.is_empty()) else { return Ok(()) };
        let channel = match channel {
            'e' => "stderr",
            'h' => "header",
            _ => "stdout",
        };
        let value = json!({ "event": "log", "step": known.step, "log": known.name, "channel": channel, "text": text });
        self.line(&value)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let value = match event {
            Event::BuildStarted { .. } | Event::BuildFinished { .. } => return Ok(()),
            Event::StepStarted { step, name, at_us } => {
                self.steps.insert(*step, (name.clone(), *at_us));
                json!({ "event": "step_started", "step": step, "name": name })
            }
            Event::StepFinished { step, results, summary, hidden, at_us, .. } => {
                let (name, begun) = self.steps.remove(step).unwrap_or_default();
                json!({
                    "event": "step_finished", "step": step, "name": name, "results": results,
                    "results_text": results.name(), "summary": summary, "hidden": hidden,
                    "seconds": (at_us - begun) as f64 / 1e6,
                })
            }
            Event::LogOpened { log, step, name, kind, .. } => {
                let (step, name) = (*step, name.clone());
                let value = json!({ "event": "log_opened", "step": step, "log": name, "kind": kind.letter() });
                let (channels, short) = Default::default();
                self.logs.insert(*log, Log { step, name, channels, short });
                value
            }
            Event::LogFinished { log, .. } => {
                let Some(known) = self.logs.get_mut(log) else { return Ok(()) };
                let short = known.short.finish();
                let rest: Vec<_> = known.channels.iter_mut().map(|(channel, text)| (*channel, text.finish())).collect();
                for (channel, text) in rest.into_iter().chain([('h', short)]) {
                    self.text(*log, channel, &text)?;
                }
                self.logs.remove(log);
                return Ok(());
            }
            other => plain(other),
        };
        self.line(&value)
    }
}

/// An event as the protocol writes it, its name among the rest.
fn plain(event: &Event) -> Value {
    let Ok(Value::Object(tagged)) = serde_json::to_value(event) else { return Value::Null };
    let Some((name, Value::Object(mut fields))) = tagged.into_iter().next() else { return Value::Null };
    fields.insert("event".to_owned(), name.into());
    Value::Object(fields)
}

impl View for Events {
    fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        let (log, chunk) = match frame {
            Frame::Event(event) => return self.event(event),
            Frame::Log { log, chunk } => (*log, chunk),
        };
        for run in decode(&chunk.data).map_err(io::Error::other)? {
            if let Some(bytes) = run.gap() {
                let step = self.logs.get(&log).map(|l| l.step);
                let name = self.logs.get(&log).map(|l| l.name.clone());
                self.line(&json!({ "event": "log_gap", "step": step, "log": name, "bytes": bytes }))?;
                continue;
            }
            let letter = match run.channel {
                Channel::Stderr => 'e',
                Channel::Header => 'h',
                Channel::Stdout | Channel::Gap => 'o',
            };
            let Some(known) = self.logs.get_mut(&log) else { continue };
            let text = match letter {
                'h' if !self.headers => known.short.push(&run.bytes),
                _ => known.channels.entry(letter).or_default().push(&run.bytes),
            };
            self.text(log, letter, &text)?;
        }
        Ok(())
    }

    fn pause(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.line(&json!({
            "event": "build_finished", "results": end.results, "results_text": end.results.name(),
            "summary": end.summary,
        }))
    }
}
