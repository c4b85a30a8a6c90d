//! Commands of a step function. The function's own thread drives them, so what
//! it does with their output slows them down and nothing else. One runs at a
//! time: an observer of its output can do all but run another one.

use super::host::Host;
use crate::build::command::{self, Ground};
use crate::exec::outlet::{Outlet, Routed};
use crate::exec::run::{self, How, LaunchError};
use crate::exec::tail::Tail;
use std::path::Path;
use tidemill_lang::custom::{CommandEnd, HostError, Output, Run, Sink};

/// What a shell would say of a program that is not there.
const NOT_FOUND: i32 = 127;

impl Host {
    pub(super) fn command(&self, wanted: &Run, sink: &mut Sink<'_>) -> Result<CommandEnd, HostError> {
        self.go_on()?;
        let _running = self.begin(wanted)?;
        let failed = |error: &dyn std::fmt::Display| HostError::Failed(self.ground.secrets.shown(&error.to_string()));
        let ground = Ground {
            own_env: &self.ground.shared.own_env,
            folder: &self.ground.folder,
            builder_env: &self.ground.builder_env,
            secrets: &self.ground.secrets,
        };
        let prepared = command::prepare(&ground, &wanted.shell).map_err(|e| failed(&e))?;
        self.ground.tests.all.want(&wanted.shell.workdir, &wanted.shell.test_reports);
        let log = wanted.log.map(|id| self.log(id)).transpose()?;
        let mut refusal = None;
        let taker = |log, channel, bytes: &[u8]| {
            // After an order to stop the function sees no more output.
            let taken = self.go_on().and_then(|()| sink(Output { log, channel, bytes }));
            taken.inspect_err(|error| refusal = Some(error.clone())).is_ok()
        };
        let patterns = self.ground.secrets.patterns();
        for id in wanted.log.iter().chain(wanted.watched.values()) {
            command::set_up(&self.log(*id)?, &wanted.shell, patterns.clone());
        }
        let id = wanted.log.unwrap_or(0);
        let mut outlet = Routed::new(self.ground.spool.clone(), log, id, wanted.observed.clone(), taker);
        outlet.mask(self.ground.secrets.clone());
        for (name, id) in &wanted.watched {
            let Some(file) = wanted.shell.logfiles.get(name) else { continue };
            let log = self.log(*id)?;
            outlet.watch(self.tail(&prepared.launch.dir, *id, file, log));
        }
        outlet.header(&prepared.header);
        let mut orders = self.ground.orders.clone();
        let context = run::Context {
            processes: &self.ground.shared.processes,
            mark: self.ground.mark.clone(),
            orders: &mut orders,
        };
        let ended = self.ground.handle.block_on(async {
            let ended = run::run(context, prepared.launch, &mut outlet).await;
            if !matches!(&ended, Ok(e) if e.how == How::Over) {
                outlet.end(&mut self.ground.orders.clone()).await;
            }
            ended
        });
        let ended = match ended {
            Ok(ended) => ended,
            Err(error @ LaunchError::NotFound { .. }) => {
                outlet.footer(&format!("{error}\n"));
                drop(outlet);
                refusal.map_or(Ok(()), Err)?;
                let reason = Some("command not found".into());
                return Ok(CommandEnd { rc: NOT_FOUND, reason, elapsed_us: 0 });
            }
            Err(error) => return Err(failed(&error)),
        };
        outlet.footer(&command::footer(&ended));
        drop(outlet);
        if let Some(error) = refusal {
            return Err(error);
        }
        let (rc, reason) = match &ended.how {
            How::Exit(code) => (*code, None),
            How::Signal(signal) => (-1, Some(format!("signal {signal}"))),
            How::Limit(text) => (-1, Some(text.clone())),
            How::Over => return Err(HostError::Over),
            How::Stopped => return Err(HostError::Cancelled),
        };
        self.go_on()?;
        let elapsed_us = u64::try_from(ended.elapsed.as_micros()).unwrap_or(u64::MAX);
        Ok(CommandEnd { rc, reason, elapsed_us })
    }

    /// Takes note of the command for as long as what it gives lives.
    fn begin(&self, wanted: &Run) -> Result<Current<'_>, HostError> {
        if self.current.borrow().is_some() {
            return Err(HostError::Failed(
                "an observer cannot run a command while the one that it observes runs: \
                 let it note what it saw, and run the next command from the step's own function"
                    .into(),
            ));
        }
        let logs = wanted.log.iter().chain(wanted.watched.values()).copied().collect();
        *self.current.borrow_mut() = Some(logs);
        Ok(Current(self))
    }

    fn tail(
        &self,
        dir: &Path,
        id: u32,
        file: &tidemill_lang::plan::LogFile,
        log: crate::exec::outlet::SharedLog,
    ) -> Tail {
        let opener = Box::new(move || (id, log.clone()));
        Tail::new(self.ground.folder.clone(), dir.join(&file.path), file.follow, false, opener)
    }
}

/// A command runs.
struct Current<'h>(&'h Host);

impl Drop for Current<'_> {
    fn drop(&mut self) {
        *self.0.current.borrow_mut() = None;
    }
}
