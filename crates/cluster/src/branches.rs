//! The strands of a stream of another node beside the main one.

use std::collections::HashMap;
use std::sync::Arc;

use distributary_hub::{Demand, DemandError};
use distributary_names::{RenditionId, StreamName};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::branch::Branch;
use crate::clock::now;
use crate::context::Context;
use crate::keeps::Keeps;
use crate::remote_audio;
use crate::remote_rendition::RemoteRendition;
use crate::strand::Strand;
use crate::trunk::Trunk;

/// Demands in the queue of one rendition.
const MAX_DEMANDS: usize = 64;

/// The strands of a stream of another node beside the main one. They end when this is dropped.
pub(crate) struct Branches {
    context: Arc<Context>,
    keeps: Arc<Keeps>,
    name: StreamName,
    /// The stream, while its owner is followed.
    trunk: watch::Sender<Option<Trunk>>,
    tasks: JoinSet<()>,
    /// The queue of each rendition.
    renditions: HashMap<RenditionId, mpsc::Sender<Demand>>,
    has_audio: bool,
}

impl Branches {
    pub(crate) fn new(context: Arc<Context>, keeps: Arc<Keeps>, name: StreamName) -> Self {
        Self {
            context,
            keeps,
            name,
            trunk: watch::Sender::new(None),
            tasks: JoinSet::new(),
            renditions: HashMap::new(),
            has_audio: false,
        }
    }

    /// Lets the strands follow the owner of the main one, or pause.
    pub(crate) fn set_trunk(&mut self, trunk: Option<Trunk>) {
        if trunk
            .as_ref()
            .is_some_and(|one| one.further.published_audio)
            && !self.has_audio
        {
            self.has_audio = true;
            let branch = self.branch(Strand::PublishedAudio);
            self.tasks
                .spawn(remote_audio::deliver(branch).in_current_span());
        }
        self.trunk.send_if_modified(|current| {
            let is_same = match (&*current, &trunk) {
                (Some(current), Some(trunk)) => current.is(trunk),
                (None, None) => true,
                _ => false,
            };
            *current = trunk;
            !is_same
        });
    }

    /// Gives a demand for a rendition to the task of that rendition, which is started if none runs.
    pub(crate) fn demand(&mut self, demand: Demand) {
        let id = demand.name().rendition_id();
        if !self.is_offered(id) {
            let reason = "the node of the stream does not have this rendition";
            return demand.answer(Err(DemandError::Failed(reason.into())));
        }
        let demand = match self.renditions.get(&id) {
            None => demand,
            Some(queue) => match queue.try_send(demand) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(demand)) => {
                    return demand.answer(Err(DemandError::Busy));
                }
                Err(mpsc::error::TrySendError::Closed(demand)) => demand,
            },
        };
        // Forgets those that have ended.
        while self.tasks.try_join_next().is_some() {}
        let (queue, demands) = mpsc::channel(MAX_DEMANDS);
        // The queue is empty: there is room.
        let _ = queue.try_send(demand);
        let rendition = RemoteRendition::new(
            self.context.hub.clone(),
            self.name.clone(),
            id,
            self.branch(Strand::Rendition(id)),
            demands,
        );
        self.tasks.spawn(rendition.run().in_current_span());
        self.renditions.insert(id, queue);
    }

    /// Returns whether the owner has a rendition, or may have it.
    fn is_offered(&self, id: RenditionId) -> bool {
        let trunk = self.trunk.borrow();
        let may_have = trunk.as_ref().is_none_or(|one| one.further.renditions);
        let offers = self.context.hub.rendition_offers(&self.name, now());
        may_have && (id == RenditionId::H264 || offers.iter().any(|offer| offer.id == id))
    }

    fn branch(&self, strand: Strand) -> Branch {
        Branch::new(
            Arc::clone(&self.context),
            Arc::clone(&self.keeps),
            self.name.clone(),
            strand,
            self.trunk.subscribe(),
        )
    }
}
