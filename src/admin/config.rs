//! `/config`: the configuration in force, where each value was set, and what the last reload changed. Secrets are not told.

use serde::Serialize;

use super::{
    reply::{Reply, Response},
    request::Request,
    situation::Situation,
    status::ReloadStatus,
    view::Reload,
};
use crate::config::{Change, EffectiveValue};

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ConfigStatus {
    pub config_file: Option<String>,
    /// Every key, in the order of the manual.
    pub values: Vec<EffectiveValue>,
    /// The last one.
    pub reload: Option<ReloadChanges>,
}

/// What a reload was about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ReloadChanges {
    #[serde(flatten)]
    pub reload: ReloadStatus,
    /// Also those of a reload that was rejected after it was compared.
    pub changes: Vec<Change>,
}

pub(super) fn config(_: &Request, situation: &mut Situation<'_>) -> Reply {
    let view = &situation.view;
    let told = ConfigStatus {
        config_file: view.config_file.clone(),
        values: view.effective.to_vec(),
        reload: view.reloads.last().map(ReloadChanges::of),
    };
    Response::json(200, &told).into()
}

impl ReloadChanges {
    fn of(reload: &Reload) -> Self {
        Self {
            reload: ReloadStatus::of(reload),
            changes: reload.changes.clone(),
        }
    }
}
