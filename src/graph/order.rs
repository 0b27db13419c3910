//! The stages as a graph. Everything it answers is in a fixed order, so that the same pipeline always runs,
//! reads and fails the same way. It knows stages by position only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use petgraph::Direction::{Incoming, Outgoing};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};

use crate::pipeline::{Link, StageId};

/// Stages and their needs, without cycles.
#[derive(Debug)]
pub struct Graph {
    /// One node per stage at the stage's position, one edge per pair of stages, from maker to reader.
    needs: DiGraph<(), ()>,
    order: Vec<StageId>,
}

impl Graph {
    /// Builds the graph of a number of stages.
    ///
    /// # Errors
    /// One cycle for each group of stages that need each other: its links in order, the last leading back to
    /// where the first starts.
    ///
    /// # Panics
    /// If a link names a stage beyond the count.
    pub fn new(stages: usize, links: &[Link]) -> Result<Graph, Vec<Vec<Link>>> {
        let mut pairs: Vec<(StageId, StageId)> = links.iter().map(|link| (link.from, link.to)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut needs = DiGraph::with_capacity(stages, pairs.len());
        for _ in 0..stages {
            needs.add_node(());
        }
        for (from, to) in pairs {
            needs.add_edge(node(from), node(to), ());
        }
        let order = order(&needs);
        if order.len() == stages { Ok(Graph { needs, order }) } else { Err(cycles(&needs, links)) }
    }

    /// All stages, each after what it needs, and otherwise in the order of declaration.
    #[must_use]
    pub fn order(&self) -> &[StageId] {
        &self.order
    }

    /// What a stage reads from directly, in the order of declaration.
    #[must_use]
    pub fn needs(&self, id: StageId) -> Vec<StageId> {
        sorted(self.needs.neighbors_directed(node(id), Incoming))
    }

    /// What reads from a stage directly, in the order of declaration.
    #[must_use]
    pub fn readers(&self, id: StageId) -> Vec<StageId> {
        sorted(self.needs.neighbors_directed(node(id), Outgoing))
    }

    /// All that a stage needs, directly or not, in the order of declaration; the stage itself is not among it.
    #[must_use]
    pub fn ancestors(&self, id: StageId) -> Vec<StageId> {
        let mut walk = Dfs::new(Reversed(&self.needs), node(id));
        sorted(std::iter::from_fn(|| walk.next(Reversed(&self.needs))).filter(|&met| met != node(id)))
    }

    /// All that needs a stage, directly or not, in the order of declaration; the stage itself is not among it.
    #[must_use]
    pub fn dependents(&self, id: StageId) -> Vec<StageId> {
        let mut walk = Dfs::new(&self.needs, node(id));
        sorted(std::iter::from_fn(|| walk.next(&self.needs)).filter(|&met| met != node(id)))
    }
}

fn node(id: StageId) -> NodeIndex {
    NodeIndex::new(id.0)
}

fn sorted(nodes: impl Iterator<Item = NodeIndex>) -> Vec<StageId> {
    let mut ids: Vec<StageId> = nodes.map(|node| StageId(node.index())).collect();
    ids.sort_unstable();
    ids
}

/// Kahn's algorithm, always taking the stage declared first among those that are free. What needs itself is
/// left out.
fn order(needs: &DiGraph<(), ()>) -> Vec<StageId> {
    let mut waiting: Vec<usize> =
        needs.node_indices().map(|node| needs.neighbors_directed(node, Incoming).count()).collect();
    let free = needs.node_indices().filter(|node| waiting[node.index()] == 0);
    let mut free: BinaryHeap<Reverse<NodeIndex>> = free.map(Reverse).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(Reverse(next)) = free.pop() {
        order.push(StageId(next.index()));
        for reader in needs.neighbors(next) {
            waiting[reader.index()] -= 1;
            if waiting[reader.index()] == 0 {
                free.push(Reverse(reader));
            }
        }
    }
    order
}

/// A shortest cycle through the first stage of each group of stages that need each other.
fn cycles(needs: &DiGraph<(), ()>, links: &[Link]) -> Vec<Vec<Link>> {
    let tangled = |group: &Vec<NodeIndex>| group.len() > 1 || needs.contains_edge(group[0], group[0]);
    let mut groups: Vec<Vec<StageId>> =
        kosaraju_scc(needs).into_iter().filter(tangled).map(|group| sorted(group.into_iter())).collect();
    groups.sort_unstable();
    groups.iter().map(|group| cycle(needs, group[0], links)).collect()
}

/// The links of a shortest way from a stage back to itself, which must exist.
fn cycle(needs: &DiGraph<(), ()>, start: StageId, links: &[Link]) -> Vec<Link> {
    let mut came_from = vec![None; needs.node_count()];
    let mut queue = VecDeque::from([node(start)]);
    while let Some(here) = queue.pop_front() {
        for reader in sorted(needs.neighbors(here)) {
            if came_from[reader.0].is_none() {
                came_from[reader.0] = Some(StageId(here.index()));
                queue.push_back(node(reader));
            }
        }
    }
    let mut cycle = vec![];
    let mut to = start;
    while let Some(from) = came_from[to.0] {
        cycle.extend(links.iter().find(|link| link.from == from && link.to == to).cloned());
        to = from;
        if from == start {
            break;
        }
    }
    cycle.reverse();
    cycle
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links(pairs: &[(usize, usize)]) -> Vec<Link> {
        let link =
            |&(from, to): &(usize, usize)| Link { from: StageId(from), to: StageId(to), port: "x".into() };
        pairs.iter().map(link).collect()
    }

    fn graph(stages: usize, pairs: &[(usize, usize)]) -> Graph {
        Graph::new(stages, &links(pairs)).unwrap()
    }

    fn cycles_of(stages: usize, pairs: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let cycles = Graph::new(stages, &links(pairs)).unwrap_err();
        cycles.iter().map(|cycle| cycle.iter().map(|link| link.from.0).collect()).collect()
    }

    fn ids<const N: usize>(ids: [usize; N]) -> [StageId; N] {
        ids.map(StageId)
    }

    #[test]
    fn free_stages_keep_the_order_of_declaration() {
        assert_eq!(graph(4, &[]).order(), ids([0, 1, 2, 3]));
        assert_eq!(graph(5, &[(4, 0), (2, 1)]).order(), ids([2, 1, 3, 4, 0]));
    }

    #[test]
    fn two_ports_between_the_same_stages_count_once() {
        let graph = graph(2, &[(0, 1), (0, 1)]);
        assert_eq!(graph.order(), ids([0, 1]));
        assert_eq!(graph.needs(StageId(1)), ids([0]));
        assert_eq!(graph.readers(StageId(0)), ids([1]));
    }

    #[test]
    fn ancestors_and_dependents_reach_through_the_graph() {
        let graph = graph(6, &[(0, 1), (1, 2), (1, 3), (3, 4)]);
        assert_eq!(graph.ancestors(StageId(4)), ids([0, 1, 3]));
        assert_eq!(graph.dependents(StageId(1)), ids([2, 3, 4]));
        assert_eq!(graph.ancestors(StageId(5)), ids([]));
    }

    #[test]
    fn each_tangle_gives_its_shortest_cycle() {
        let pairs = [(0, 1), (1, 2), (2, 0), (1, 0), (3, 4), (4, 5), (5, 3), (5, 6)];
        assert_eq!(cycles_of(7, &pairs), [vec![0, 1], vec![3, 4, 5]]);
        assert_eq!(cycles_of(1, &[(0, 0)]), [vec![0]]);
    }

    #[test]
    fn long_chains_and_cycles_need_no_deep_stack() {
        let mut chain: Vec<(usize, usize)> = (1..100_000).map(|n| (n - 1, n)).collect();
        assert_eq!(graph(100_000, &chain).ancestors(StageId(99_999)).len(), 99_999);
        chain.push((99_999, 0));
        assert_eq!(cycles_of(100_000, &chain)[0].len(), 100_000);
    }

    proptest! {
        #[test]
        fn an_order_puts_makers_before_readers(pairs in proptest::collection::vec((0..20_usize, 0..20_usize), 0..40)) {
            match Graph::new(20, &links(&pairs)) {
                Ok(graph) => {
                    let place = |id| graph.order().iter().position(|&met| met == StageId(id));
                    prop_assert!(pairs.iter().all(|&(from, to)| place(from) < place(to)));
                    prop_assert_eq!(graph.order().len(), 20);
                }
                Err(cycles) => for cycle in cycles {
                    let turned = cycle.iter().cycle().skip(1);
                    prop_assert!(!cycle.is_empty());
                    prop_assert!(cycle.iter().zip(turned).all(|(link, next)| link.to == next.from));
                },
            }
        }
    }
}
