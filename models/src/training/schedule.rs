//! How the learning rate goes up and down.

use std::f64::consts::PI;

/// A straight rise, then half a cosine down (Loshchilov and Hutter, arXiv 1608.03983).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Steps of the whole run; later steps stay at `last_rate`.
    pub steps: u64,
    /// Steps of the rise.
    pub warm_up: u64,
    /// The highest rate.
    pub peak_rate: f64,
    /// The rate at the end.
    pub last_rate: f64,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.peak_rate * (step + 1) as f64 / self.warm_up as f64;
        }
        let fall = self.steps.saturating_sub(self.warm_up).max(1);
        let share = ((step - self.warm_up) as f64 / fall as f64).min(1.0);
        self.last_rate + (self.peak_rate - self.last_rate) * 0.5 * (1.0 + (PI * share).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_to_its_end() {
        let schedule = Schedule {
            steps: 100,
            warm_up: 10,
            peak_rate: 1.0,
            last_rate: 0.1,
        };
        assert!((schedule.rate(0) - 0.1).abs() < 1e-12);
        assert!((schedule.rate(9) - 1.0).abs() < 1e-12);
        assert!((schedule.rate(10) - 1.0).abs() < 1e-12);
        assert!((schedule.rate(55) - 0.55).abs() < 1e-12);
        assert!((schedule.rate(100) - 0.1).abs() < 1e-12);
        assert!((schedule.rate(1000) - 0.1).abs() < 1e-12);
        assert!((10..100).all(|step| schedule.rate(step) > schedule.rate(step + 1)));
    }
}
