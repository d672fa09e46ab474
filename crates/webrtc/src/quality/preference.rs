//! A viewer's preference.

use super::Rung;

/// A viewer's preference. By default, the best rendition for its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference<I> {
    /// The rendition that it gets at any path bandwidth, while there is one of this id.
    pub fixed: Option<I>,
    /// Most pixels of height.
    pub max_height: Option<u32>,
    /// Pixels of height at which the player shows the video: the next rendition above it is enough.
    pub shown_height: Option<u32>,
}

impl<I> Default for Preference<I> {
    fn default() -> Self {
        Self {
            fixed: None,
            max_height: None,
            shown_height: None,
        }
    }
}

impl<I: PartialEq> Preference<I> {
    /// Returns the place of the rendition that the viewer gets at any path bandwidth.
    pub fn fixed(&self, rungs: &[Rung<I>]) -> Option<usize> {
        let fixed = self.fixed.as_ref()?;
        rungs.iter().position(|rung| rung.id == *fixed)
    }

    /// Returns the place of the best rendition that the viewer may get, among `rungs` from the best
    /// to the least: the least if all are too high.
    pub fn best(&self, rungs: &[Rung<I>]) -> usize {
        let last = rungs.len().saturating_sub(1);
        let allowed = self.max_height.map_or(0, |most| {
            let fits = rungs.iter().position(|rung| rung.height <= most);
            fits.unwrap_or(last)
        });
        let enough = self.shown_height.map_or(0, |shown| {
            let covers = rungs.iter().rposition(|rung| rung.height >= shown);
            covers.unwrap_or(0)
        });
        allowed.max(enough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rungs() -> Vec<Rung<u32>> {
        let rung = |height| Rung {
            id: height,
            height,
            rate: 1000 * u64::from(height),
        };
        [1080, 720, 480, 360].map(rung).to_vec()
    }

    fn best(max_height: Option<u32>, shown_height: Option<u32>) -> u32 {
        let preference = Preference {
            max_height,
            shown_height,
            ..Preference::default()
        };
        rungs()[preference.best(&rungs())].id
    }

    #[test]
    fn height_is_bounded_by_the_limit_and_by_what_is_shown() {
        assert_eq!(best(None, None), 1080);
        assert_eq!(best(Some(720), None), 720);
        assert_eq!(best(Some(719), None), 480);
        assert_eq!(best(Some(100), None), 360, "there is none below");
        assert_eq!(best(None, Some(500)), 720, "the next above");
        assert_eq!(best(None, Some(480)), 480);
        assert_eq!(best(None, Some(100)), 360);
        assert_eq!(best(None, Some(2000)), 1080);
        assert_eq!(best(Some(480), Some(2000)), 480);
        assert_eq!(best(Some(1080), Some(300)), 360);
        assert_eq!(Preference::<u32>::default().best(&[]), 0);
    }

    #[test]
    fn fixed_rendition_counts_while_it_exists() {
        let fixed = |id| Preference {
            fixed: Some(id),
            ..Preference::default()
        };
        assert_eq!(fixed(480).fixed(&rungs()), Some(2));
        assert_eq!(fixed(240).fixed(&rungs()), None);
    }
}
