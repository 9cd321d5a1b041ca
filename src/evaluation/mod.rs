//! Result rows held against labels: how good a filter is, and where its threshold should stand.
//!
//! * [`labels`] reads the labels, [`rows`] the result rows, and finds the row of each label.
//! * [`binary`] judges scores against yes-or-no labels; [`boxes`] judges regions and crops.
//! * [`report`] puts all of it together, with everything that could not be judged.
//!
//! **Which score.** A label of task `vfx` is held against every entry of `info` that answers it: `vfx_filter` and
//! `seg_vfx_filter` (a task's entry is its name, with or without `seg_` before and `_filter` behind; `rotation` is also
//! `rotate_vertical_filter`, `reversed` also `inverse_seg_simcam_filter`; a task may name an entry outright). Each entry is
//! a line of the report.
//!
//! **Which label is the positive one.** Of an entry's `result`: the label that is called as the task; else all that are not
//! of [`rows::NEGATIVE`] (`normal`, `real`, `pass`, …), taken together: the score is one minus their share. An entry
//! without probabilities scores 1 when its `label` is not negative, else 0. `--score TASK=KEY.LABEL` says it outright, and
//! may name a number of `measure`, with `-` before it where less is worse.
//!
//! **Windows.** A video's score is the largest of its windows' (one bad window spoils a clip), for every `seg_` entry.
//!
//! **Nothing is dropped silently.** A label without a row, one that fits several rows, a row that failed before it had the
//! entry, a row without a label: each is counted, and the names are in the report.

pub mod binary;
pub mod boxes;
pub mod labels;
pub mod report;
pub mod rows;
