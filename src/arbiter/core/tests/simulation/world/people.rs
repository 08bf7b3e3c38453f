//! What people do: they edit, take back, send signals, ask for more or fewer.

use super::*;

impl World {
    /// A person edits, sends HUP, or asks for more or fewer.
    pub(super) fn act(&mut self) {
        let mut rolls = false;
        match self.below(10) {
            0..=3 => {
                let fault = self.below(FAULTS.len() as u64) as usize;
                let kind = if self.chance(50) {
                    Kind::Good
                } else {
                    FAULTS[fault]
                };
                self.kinds.push(kind);
                self.file.code = self.kinds.len() - 1;
            }
            4 => self.file.live += 1,
            5 => self.file.workers = 1 + self.below(4) as u16,
            6 => {
                let back = self.below(self.texts.len() as u64) as usize;
                self.file = *self.texts.values().nth(back).unwrap();
            }
            7 => rolls = true,
            8 => return self.step(Event::OneMore),
            _ => {
                let event = match self.below(2) {
                    0 => Event::OneFewer,
                    _ => Event::Scale(self.below(6) as u16),
                };
                return self.step(event);
            }
        }
        let reload = ReloadId(self.texts.keys().last().map_or(0, |last| last.0) + 1);
        let change = |world: &Self, generation: Option<GenerationId>| match generation {
            Some(generation) if !rolls => {
                let (reload, _) = world.generations[&generation];
                change(world.texts[&reload], world.file)
            }
            _ => Change::Roll,
        };
        let from_serving = change(self, self.core.serving());
        let from_candidate = change(self, self.core.candidate());
        self.texts.insert(reload, self.file);
        let rules = self.rules(self.file);
        self.step(Event::Edited {
            reload,
            rules,
            from_serving,
            from_candidate,
        });
    }
}

fn change(before: Text, after: Text) -> Change {
    if before.code != after.code {
        Change::Roll
    } else if before.workers != after.workers {
        Change::Scale
    } else if before.live != after.live {
        Change::Live
    } else {
        Change::Nothing
    }
}
