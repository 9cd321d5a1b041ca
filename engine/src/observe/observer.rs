use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Progress, StageSnapshot, StageStats};
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
}

impl Observer {
    /// Counters for the stages of this plan, all at zero.
    pub fn new(plan: &Plan) -> Self {
        Self {
            progress: Progress::default(),
            memory: ByteGauge::default(),
            disk: ByteGauge::default(),
            stages: plan
                .order
                .iter()
                .map(|index| {
                    let stage = &plan.graph[*index];
                    StageStats::new(&stage.id, stage.spec.name)
                })
                .collect(),
        }
    }

    /// The counters of the stage at this place of [`Plan::order`].
    pub(crate) fn stage(&self, rank: usize) -> &StageStats {
        &self.stages[rank]
    }

    /// The counters of all stages as they are now, in plan order.
    pub fn stages(&self) -> Vec<StageSnapshot> {
        self.stages.iter().map(StageStats::snapshot).collect()
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
