//! The choice of other nodes for viewers of this one.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::nodes::Node;
use crate::public_url::base;
use crate::share::Share;

/// Maximum number of alternates of a session.
const MAX_ALTERNATES: usize = 3;

/// Loads that differ by less than this many percent count as equal: beacons are late, and not all
/// viewers should go to the same node.
const LOAD_STEP: u8 = 10;

/// Returns the public URLs of the nodes where viewers of this node should go if it fails or ends: in
/// the same zone first, then with less load.
pub(crate) fn alternates(nodes: &[Node], zone: &str, random: &mut impl Rng) -> Vec<String> {
    let mut others: Vec<&Node> = nodes.iter().filter(|node| is_open(node)).collect();
    others.shuffle(random);
    others.sort_by_key(|node| (node.zone != zone, node.load.as_percent() / LOAD_STEP));
    let urls = others.into_iter().map(|node| base(&node.url).to_owned());
    urls.take(MAX_ALTERNATES).collect()
}

/// Returns the public URL of the node to which a new viewer is redirected from a node of this load:
/// the one with less load of two random nodes of the zone. Those that have the stream come first.
/// `None` if no node of the zone has less load than this one and than `limit`.
pub(crate) fn less_loaded(
    nodes: &[Node],
    zone: &str,
    load: Share,
    limit: Share,
    has_stream: impl Fn(&Node) -> bool,
    random: &mut impl Rng,
) -> Option<String> {
    let is_better =
        |node: &&Node| is_open(node) && node.zone == zone && node.load < limit && node.load < load;
    let better: Vec<&Node> = nodes.iter().filter(is_better).collect();
    let with_stream: Vec<&Node> = better
        .iter()
        .copied()
        .filter(|node| has_stream(node))
        .collect();
    let pool = if with_stream.is_empty() {
        better
    } else {
        with_stream
    };
    let (one, other) = (pool.choose(random)?, pool.choose(random)?);
    let chosen = if other.load < one.load { other } else { one };
    Some(base(&chosen.url).to_owned())
}

/// Returns whether a node is another one that players can reach and that admits viewers.
fn is_open(node: &Node) -> bool {
    !node.is_this && !node.draining && !node.url.is_empty()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn node(name: &str, zone: &str, load: u8) -> Node {
        Node {
            name: name.to_owned(),
            zone: zone.to_owned(),
            url: format!("https://{name}.example/"),
            load: Share::percent(load),
            ..Node::default()
        }
    }

    fn this() -> Node {
        Node {
            is_this: true,
            ..node("this", "eu", 95)
        }
    }

    fn url(name: &str) -> String {
        format!("https://{name}.example")
    }

    /// Calls `choose` with many seeds, and returns all results.
    fn all<T: Ord>(choose: impl Fn(&mut StdRng) -> T) -> Vec<T> {
        let seeds = 0..200;
        let mut all: Vec<T> = seeds
            .map(|seed| choose(&mut StdRng::seed_from_u64(seed)))
            .collect();
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn alternates_are_of_the_zone_first_and_then_less_loaded() {
        let nodes = [
            this(),
            node("far", "us", 0),
            node("busy", "eu", 80),
            node("idle", "eu", 5),
            node("farther", "us", 50),
        ];
        let found = all(|random| alternates(&nodes, "eu", random));
        assert_eq!(found, [["idle", "busy", "far"].map(url)]);
    }

    #[test]
    fn viewers_of_one_node_get_alternates_of_equal_load_in_different_orders() {
        let nodes = [this(), node("a", "eu", 11), node("b", "eu", 19)];
        let found = all(|random| alternates(&nodes, "eu", random));
        assert_eq!(found, [["a", "b"].map(url), ["b", "a"].map(url)]);
    }

    #[test]
    fn nodes_that_drain_or_have_no_url_get_no_viewers() {
        let draining = Node {
            draining: true,
            ..node("draining", "eu", 0)
        };
        let hidden = Node {
            url: String::new(),
            ..node("hidden", "eu", 0)
        };
        let nodes = [this(), draining, hidden];
        let (load, limit) = (Share::percent(95), Share::percent(90));
        assert!(all(|random| alternates(&nodes, "eu", random))[0].is_empty());
        let found = all(|random| less_loaded(&nodes, "eu", load, limit, |_| true, random));
        assert_eq!(found, [None]);
    }

    #[test]
    fn redirect_prefers_a_node_of_the_zone_that_has_the_stream() {
        let nodes = [
            this(),
            node("far", "us", 0),
            node("idle", "eu", 0),
            node("has", "eu", 70),
            node("full", "eu", 92),
        ];
        let (load, limit) = (Share::percent(95), Share::percent(90));
        let redirected = |has: &str| {
            let has_stream = |node: &Node| node.name == has;
            all(|random| less_loaded(&nodes, "eu", load, limit, has_stream, random))
        };
        assert_eq!(redirected("has"), [Some(url("has"))]);
        // Not to one that is over the limit itself, and not to another zone.
        for other in ["full", "far"] {
            assert_eq!(
                redirected(other),
                ["has", "idle"].map(|name| Some(url(name)))
            );
        }
    }

    #[test]
    fn redirect_never_leads_to_a_node_with_more_load() {
        let nodes = [this(), node("busy", "eu", 40)];
        let (load, limit) = (Share::percent(40), Share::percent(100));
        let found = all(|random| less_loaded(&nodes, "eu", load, limit, |_| true, random));
        assert_eq!(found, [None]);
    }
}
