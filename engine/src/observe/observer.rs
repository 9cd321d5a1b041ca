use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{Progress, StageSnapshot, StageStats};
use crate::lock::lock;
use crate::plan::Plan;

/// All counters of one process's part of a run. Made before the run starts, shared with whoever watches it.
#[derive(Debug)]
pub struct Observer {
    /// The rows of the job; counted in process 0 for all processes.
    pub progress: Progress,
    /// The memory granted to items in this process.
    pub memory: ByteGauge,
    /// The space on the local disk granted to items in this process.
    pub disk: ByteGauge,
    stages: Vec<StageStats>,
    /// What other processes did, told at the end of the run.
    others: Mutex<Vec<Vec<StageSnapshot>>>,
}

impl Observer {
    /// Counters for the stages of this plan, all at zero.
    pub fn new(plan: &Plan) -> Self {
        Self {
            progress: Progress::default(),
            memory: ByteGauge::default(),
            disk: ByteGauge::default(),
            stages: plan
                .stages()
                .map(|stage| StageStats::new(&stage.id, stage.spec.name))
                .collect(),
            others: Mutex::default(),
        }
    }

    /// Another process tells what its stages did, in plan order.
    pub(crate) fn add_process(&self, stages: Vec<StageSnapshot>) {
        let mut others = lock(&self.others);
        others.push(stages);
    }

    /// The counters of the stage at this place of [`Plan::order`].
    pub(crate) fn stage(&self, rank: usize) -> &StageStats {
        &self.stages[rank]
    }

    /// The counters of all stages as they are now, in plan order: of this process, and at the end of a run, in process 0, of
    /// all of them together.
    pub fn stages(&self) -> Vec<StageSnapshot> {
        let mut stages: Vec<_> = self.stages.iter().map(StageStats::snapshot).collect();
        let others = lock(&self.others);
        for process in others.iter() {
            for (stage, other) in stages.iter_mut().zip(process) {
                stage.add(other);
            }
        }
        stages
    }
}

/// Bytes that the run granted to items. Clones are the same gauge.
#[derive(Debug, Default, Clone)]
pub struct ByteGauge {
    used: Arc<AtomicU64>,
    peak: Arc<AtomicU64>,
}

impl ByteGauge {
    pub(crate) fn set(&self, used: u64) {
        self.used.store(used, Ordering::Relaxed);
        self.peak.fetch_max(used, Ordering::Relaxed);
    }

    /// Bytes granted now.
    pub fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Most bytes that were granted at once.
    pub fn peak_bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}
