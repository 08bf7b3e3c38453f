//! Orders of the core into system calls.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use nix::sys::signal::Signal;

use super::Shell;
use crate::{
    arbiter::{
        GenerationProcess,
        causes::with_causes,
        clock,
        core::{Action, Event, Exit, GenerationId, ReloadId, Report, WorkerId, WorkerReport},
        open_files,
        pidfile::Pidfile,
        processes::{GenerationHandle, WorkerHandle},
        reading::{self, Reading},
    },
    config::Config,
    error, info,
    sys::PidFd,
    telemetry, warning,
    wire::{
        ChannelError, ForkDescriptors, LastWords, StackSheet, StartDescriptors, ToGeneration,
        WorkerSettings,
    },
};

impl Shell {
    pub(super) fn obey(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.obey_one(action);
        }
    }

    fn obey_one(&mut self, action: Action) {
        match action {
            Action::Spawn { generation, reload } => self.spawn(generation, reload),
            Action::Fork {
                generation,
                worker,
                slot,
            } => self.fork(generation, worker, slot),
            Action::Retire(generation) => self.send(generation, ToGeneration::Retire, &[]),
            Action::AbortGeneration(generation) => {
                self.processes.tell_generation(generation, Signal::SIGABRT);
            }
            Action::KillGeneration(generation) => {
                self.processes.tell_generation(generation, Signal::SIGKILL);
            }
            Action::Signal { worker, signal } => self.processes.signal(worker, signal),
            Action::Release { worker, slot } => self.release(worker, slot),
            Action::Abandon { slot, .. } => self.kill_in_slot(slot),
            Action::Commit { reload, .. } => self.commit(reload),
            Action::Adopt { generation, reload } => {
                self.go_by(generation, reload);
                self.put_in_force(reload);
                self.serving = Some(reload);
            }
            // It may have been committed meanwhile: it is known by its number.
            Action::AdoptForCandidate { generation, reload } => self.go_by(generation, reload),
            Action::Forget(generation) => {
                self.processes.generations.remove(&generation);
                self.tally.forget(generation);
                self.forget_readings();
            }
            Action::AnnounceStop => {
                self.tell_stopping();
                self.shared.board.set_closing();
                // Workers take what waits; who comes later is refused at once, and may ask elsewhere.
                self.listeners.close(self.manager.keeps_sockets());
            }
            Action::Finish(code) => self.exit = Some(code),
            Action::Report(report) => self.report(&report),
        }
    }

    fn report(&mut self, report: &Report) {
        self.reporter().tell(report);
        self.tell_hooks(report);
        self.note_in_history(report);
        self.note_scale(report);
        self.count(report);
        match report {
            Report::Adopted { reload, .. } => self.settling = Some(*reload),
            // Until now the line could still say what was in force before.
            Report::Serving { reload, .. } | Report::RolledBack { reload, .. } => {
                self.serving = Some(*reload);
                self.settling = None;
                self.forget_readings();
            }
            Report::Undone { .. }
            | Report::TakenBack { .. }
            | Report::Rolling { .. }
            | Report::RollingBack { .. } => {
                self.settling = None;
                self.close_unused_listeners(self.serving);
            }
            Report::Worker {
                worker,
                report: WorkerReport::Ready { took },
                ..
            } => {
                self.last_boot = Some(*took);
                self.catch_up(*worker);
            }
            _ => {}
        }
    }

    fn spawn(&mut self, generation: GenerationId, reload: ReloadId) {
        let process = match self.readings.get(&reload) {
            Some(reading) => {
                let resources = &reading.resources;
                GenerationProcess::spawn(&resources.interpreter, &resources.engine, &reading.config)
                    .map_err(|error| with_causes(&error))
            }
            None => Err("its configuration is not known".to_owned()),
        };
        let process = match process {
            Ok(process) => Some(process),
            Err(reason) => {
                let exit = Exit::Code(1);
                self.events.push_back(Event::Failed { generation, reason });
                self.events
                    .push_back(Event::GenerationExited { generation, exit });
                None
            }
        };
        let handle = GenerationHandle {
            reload,
            process,
            live: None,
            last_words: None,
            is_deaf: false,
        };
        self.processes.generations.insert(generation, handle);
    }

    /// Answers `Hello`.
    pub(super) fn send_start(&mut self, generation: GenerationId) {
        let handle = self.processes.generations.get(&generation);
        let reading = handle.and_then(|handle| self.readings.get(&handle.reload));
        let page = reading.map(|reading| self.live_page(reading));
        let handle = self.processes.generations.get_mut(&generation);
        let Some(((handle, reading), page)) = handle.zip(reading).zip(page) else {
            return;
        };
        let live = match page {
            Ok(live) => handle.live.insert(live),
            Err(problem) => {
                let (id, reason) = (generation.0, with_causes(&problem));
                error!("generation={id} cannot be started: {reason}");
                return self.processes.tell_generation(generation, Signal::SIGKILL);
            }
        };
        let last_words = match LastWords::create() {
            Ok(words) => handle.last_words.insert(words),
            Err(error) => {
                error!("generation={} cannot be started: {error}", generation.0);
                return self.processes.tell_generation(generation, Signal::SIGKILL);
            }
        };
        let Some(process) = &mut handle.process else {
            return;
        };
        let (listeners, sockets) = self.listeners.passed(&reading.resources.listeners);
        let shared = &self.shared;
        let [live_page, waiting_logs] = live.descriptors();
        let descriptors = StartDescriptors {
            scoreboard: shared.board.descriptor(),
            bell: shared.bell.as_fd(),
            lifeline: shared.lifeline_end.as_fd(),
            lobby_sender: shared.lobby.0.as_fd(),
            lobby_receiver: shared.lobby.1.as_fd(),
            last_words: last_words.descriptor(),
            live_page,
            waiting_logs,
        };
        let settings = Box::new(WorkerSettings {
            generation: generation.0,
            config: Arc::new(reading.config.without_token()),
            imports_app: reading.config.preload,
            listeners,
        });
        let sent = process.channel.send(
            ToGeneration::Start(settings),
            &descriptors.with_listeners(sockets),
        );
        self.on_sent(generation, sent);
    }

    fn fork(&mut self, generation: GenerationId, worker: WorkerId, slot: u32) {
        self.shared.board.assign(slot, worker.0, generation.0);
        open_files::make_room(self.processes.workers.len());
        let sheet = StackSheet::create().map(Arc::new);
        let handle = WorkerHandle {
            generation,
            slot,
            sheet: sheet.as_ref().ok().map(Arc::clone),
            peak_bytes: 0,
            oom_kills_before: crate::sys::oom_kills(),
            process: None,
        };
        self.processes.workers.insert(worker, handle);
        match sheet {
            Ok(sheet) => {
                let worker = worker.0;
                let order = ToGeneration::Fork { worker, slot };
                let descriptors = ForkDescriptors {
                    stack_sheet: sheet.descriptor(),
                };
                self.send(generation, order, &descriptors.into_list());
            }
            Err(error) => {
                let reason = format!("no memory file for its stacks: {error}");
                self.events.push_back(Event::NotForked { worker, reason });
            }
        }
    }

    pub(super) fn send(
        &mut self,
        generation: GenerationId,
        message: ToGeneration,
        descriptors: &[BorrowedFd<'_>],
    ) {
        if let Some(process) = self.processes.process(generation) {
            let sent = process.channel.send(message, descriptors);
            self.on_sent(generation, sent);
        }
    }

    /// A generation that cannot be told anything is of no use; its end is what the core hears of.
    pub(super) fn on_sent(&mut self, generation: GenerationId, sent: Result<(), ChannelError>) {
        match sent {
            Ok(()) | Err(ChannelError::Closed) => {}
            Err(problem) => {
                let (id, reason) = (generation.0, with_causes(&problem));
                error!("generation={id} cannot be talked to: {reason}; it is killed");
                self.processes.tell_generation(generation, Signal::SIGKILL);
            }
        }
    }

    fn release(&mut self, worker: WorkerId, slot: u32) {
        self.processes.workers.remove(&worker);
        if let Some(place) = self.shared.board.slots().get(slot as usize) {
            self.tally.keep(place);
            self.shared.board.release(slot);
        }
    }

    /// Whoever boots in the slot is a child of the arbiter by now, and has told its pid if it came that far. Others may have written
    /// another's there.
    fn kill_in_slot(&self, slot: u32) {
        let place = self.shared.board.slots().get(slot as usize);
        if let Some(pid) = place.map(|place| place.pid()).filter(|pid| *pid != 0)
            && let Ok(pidfd) = PidFd::open(pid)
            && pidfd.is_child()
        {
            let _gone_already = pidfd.signal(Signal::SIGKILL);
        }
    }

    fn commit(&mut self, reload: ReloadId) {
        let addresses = |shell: &Self, id: Option<ReloadId>| {
            let reading = id.and_then(|id| shell.readings.get(&id));
            reading.map(|r| shell.listeners.addresses(&r.resources.listeners))
        };
        let before = addresses(self, self.serving);
        self.put_in_force(reload);
        self.close_unused_listeners(Some(reload));
        let (Some(before), Some(now)) = (before, addresses(self, Some(reload))) else {
            return;
        };
        for address in now.iter().filter(|address| !before.contains(address)) {
            info!("listening at {address}");
        }
        for address in before.iter().filter(|address| !now.contains(address)) {
            info!("no longer listening at {address}");
        }
    }

    /// What the arbiter itself does by the configuration.
    fn put_in_force(&mut self, reload: ReloadId) {
        let Some(reading) = self.readings.get(&reload).cloned() else {
            return;
        };
        let config = &reading.config;
        self.watcher
            .apply(&config.chdir, &config.reload, clock::now());
        self.listeners.settle(config, &reading.resources.listeners);
        self.change_pidfile(&reading);
        self.change_error_log(&reading);
        let backlogs = self.admin.backlogs();
        self.statsd
            .apply(&config.statsd, &self.shared.board, backlogs);
        self.show_config(config);
        self.open_admin(&config.admin);
        self.next_sample = None;
    }

    fn change_pidfile(&mut self, reading: &Reading) {
        let path = reading.config.pidfile.as_deref();
        if self.pidfile.as_ref().map(Pidfile::path) == path {
            return;
        }
        let distrusted = reading::distrusted(reading.resources.identity.as_ref());
        let pidfile = path.map(|path| Pidfile::create(path, distrusted));
        match pidfile.transpose() {
            Ok(pidfile) => self.pidfile = pidfile,
            Err(problem) => warning!("{problem}; the old one stays in use"),
        }
    }

    fn change_error_log(&mut self, reading: &Reading) {
        let of = |config: &Config| {
            (
                config.log.clone(),
                config.user.clone(),
                config.group.clone(),
            )
        };
        let is_overridden = self.orders.log_level.take().is_some();
        let is_new = is_overridden
            || (self.serving_config()).is_some_and(|before| of(before) != of(&reading.config));
        let owner = reading::owner(reading.resources.identity.as_ref());
        if is_new && let Err(problem) = telemetry::init(&reading.config.log, owner) {
            warning!("`log.error` cannot be opened: {problem}; the old one stays in use");
        }
        if is_overridden {
            self.post_to_all(false);
        }
    }

    /// Closes what neither that reading nor a candidate's needs.
    fn close_unused_listeners(&mut self, serving: Option<ReloadId>) {
        let parked = self.core.parked();
        let parked = parked.and_then(|id| self.processes.generations.get(&id));
        let used: BTreeSet<u32> = [serving, self.candidate_reload(), parked.map(|p| p.reload)]
            .into_iter()
            .flatten()
            .filter_map(|id| self.readings.get(&id))
            .flat_map(|reading| reading.resources.listeners.iter().copied())
            .collect();
        self.listeners.retain(&used);
    }

    /// Drops readings that no generation goes by any more.
    fn forget_readings(&mut self) {
        let handles = self.processes.generations.values();
        let used: BTreeSet<ReloadId> = handles
            .map(|handle| handle.reload)
            .chain(self.serving)
            .chain(self.settling)
            .collect();
        // The last one may be on its way to the core.
        let last = ReloadId(self.reloads);
        self.readings
            .retain(|id, _| used.contains(id) || *id == last);
    }
}
