//! `/metrics` for collectors, `/metrics.json` for programs that show figures live.

use super::{
    backlogs::backlogs,
    reply::{Reply, Response},
    request::Request,
    scene::Scene,
    view::GenerationState,
};
use crate::{
    telemetry::metrics::{self, Figures, Format, Memory, Snapshot},
    wire::WorkerState,
};

/// In Prometheus' text format, or in OpenMetrics where it is asked for.
pub(super) fn text(request: &Request, scene: &mut Scene<'_>) -> Reply {
    let format = Format::negotiate(&request.accept);
    let body = metrics::render(&snapshot(scene), format).into_bytes();
    Response {
        status: 200,
        content_type: format.content_type(),
        body,
        fields: Vec::new(),
    }
    .into()
}

pub(super) fn json(_: &Request, scene: &mut Scene<'_>) -> Reply {
    let snapshot = snapshot(scene);
    let uptime_ns = scene.now_ns.saturating_sub(scene.view.started_ns);
    let figures = Figures::of(&snapshot, uptime_ns as f64 / 1e9);
    Response::json(200, &figures).into()
}

fn snapshot(scene: &mut Scene<'_>) -> Snapshot {
    let mut snapshot = Snapshot::of(scene.board);
    snapshot.workers.wanted = scene.view.workers_wanted.into();
    let serving = scene.view.generation(GenerationState::Serving);
    snapshot.generation = serving.map_or(0, |serving| serving.generation);
    snapshot.backlogs = backlogs(&scene.view);
    snapshot.memory = memory(scene);
    snapshot
}

fn memory(scene: &mut Scene<'_>) -> Memory {
    let view = std::sync::Arc::clone(&scene.view);
    let generations = view.generations.iter();
    let generations = generations.filter_map(|generation| scene.memory_of(generation.pid?));
    let generations = generations.sum();
    let slots = scene.board.slots_in_use().iter().enumerate();
    let slots = slots.filter(|(_, slot)| slot.state() != WorkerState::Free && slot.pid() != 0);
    let workers = slots
        .filter_map(|(index, slot)| Some((index, scene.memory_of(slot.pid())?)))
        .collect();
    Memory {
        arbiter: scene.memory_of(std::process::id()).unwrap_or(0),
        generations,
        workers,
    }
}
