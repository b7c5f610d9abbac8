//! The protocol, as what may happen in a world, and what it then becomes.

use crate::{
    action::{Action, Fate},
    configuration::Configuration,
    flaws::Flaw,
    host::{Holding, Host},
    message::Message,
    registry::{AGENTS, HOSTS, Lease, LeaseId, Leases, Registry},
    time::Clocks,
    world::{MESSAGES, World},
};

/// All that can happen in this world.
pub fn actions(world: &World, to: &Configuration, actions: &mut Vec<Action>) {
    let faulty = world.faults_left > 0;
    let room = faulty && world.messages[..].iter().filter(|m| m.is_some()).count() < to.late;
    if may_tick(world, to, Clocks::REGISTRY) {
        actions.push(Action::RegistryTicks);
    }
    let up = || (0..HOSTS).filter(|&h| world.hosts[h].up);
    if faulty && to.faults.outages && up().count() > 1 && up().all(|h| !world.hosts[h].cut) {
        actions.push(Action::Outage);
    }
    for h in 0..HOSTS {
        host_actions(world, to, h, faulty, room, actions);
    }
    let buriers = || (0..HOSTS).filter(|&h| world.hosts[h].reaches_registry());
    for lease in LeaseId::all().filter(|&lease| world.registry.lease(lease).is_overdue()) {
        let buries = |h| world.registry.votes_suffice(lease, voters(world, to, h, lease), to.rules);
        if buriers().any(buries) {
            actions.push(Action::Bury(lease));
        }
        if room && to.faults.late_burials && buriers().count() > 0 {
            actions.push(Action::BeginBurial(lease));
        }
    }
    for h in 0..HOSTS {
        if world.apart[h] {
            actions.push(Action::Join(h));
        } else if faulty && to.faults.partitions {
            actions.push(Action::Part(h));
        }
    }
    for place in 0..MESSAGES {
        message_actions(world, to, place, actions);
    }
}

/// Whether this clock may be the next to tick.
fn may_tick(world: &World, to: &Configuration, clock: usize) -> bool {
    let waits = |other: usize| !world.clocks.ahead(other) && !world.rests(other, to);
    !world.clocks.ahead(clock) && (to.drift || !(0..clock).any(waits))
}

/// Those who would vote for this burial if this host asked them.
fn voters(world: &World, to: &Configuration, by: usize, lease: LeaseId) -> Leases {
    let would = |p: &usize| world.together(by, *p) && world.hosts[*p].would_vote(lease, to.rules);
    (0..HOSTS).filter(would).map(|p| world.hosts[p].lease).collect()
}

fn host_actions(
    world: &World,
    to: &Configuration,
    h: usize,
    faulty: bool,
    room: bool,
    actions: &mut Vec<Action>,
) {
    let host = &world.hosts[h];
    let healthy = host.reaches_registry() && world.registry.lease(host.lease).is_live();
    if may_tick(world, to, h) && !world.rests(h, to) {
        actions.push(Action::HostTicks(h, Fate::Heard));
        let members = willing(world, to, h, 1);
        if faulty && to.faults.losses && (healthy || !members.is_empty()) {
            actions.push(Action::HostTicks(h, Fate::Lost));
            actions.push(Action::HostTicks(h, Fate::AnswerLost));
            if !healthy && members.len() > 1 {
                let who = (0..HOSTS).filter(|&p| members.contains(world.hosts[p].lease));
                actions.extend(who.map(|p| Action::HostTicks(h, Fate::HeardBy(p))));
            }
        }
        let late = if healthy {
            to.faults.late_renewals
        } else {
            to.faults.late_promises && asks_promises(host, to, 1)
        };
        if room && late {
            actions.push(Action::HostTicks(h, Fate::Late));
        }
    }
    if host.up {
        if host.cut {
            actions.push(Action::Mend(h));
        } else if faulty && to.faults.cuts {
            actions.push(Action::Cut(h));
        }
        if host.paused {
            actions.push(Action::Resume(h));
        } else if faulty && to.faults.pauses {
            actions.push(Action::Pause(h));
        }
        if faulty && to.faults.crashes {
            actions.push(Action::Crash(h));
        }
    } else {
        let unlocked = !host.has_processes() || to.rules.has(Flaw::PredecessorUnlocked);
        if !unlocked {
            actions.push(Action::Reap(h));
        }
        if unlocked && start_lease(world, to, h).is_some() {
            actions.push(Action::Start(h));
        }
    }
    if !host.acts() {
        return;
    }
    if host.reaches_registry() {
        for earlier in LeaseId::all().filter(|earlier| earlier.next() == Some(host.lease)) {
            if world.registry.lease(earlier).is_live() {
                actions.push(Action::BuryPredecessor(h, earlier));
            }
        }
        let buried = world.registry.lease(host.lease) == Lease::Buried;
        if buried && world.registrations_left > 0 && host.lease.next().is_some() {
            actions.push(Action::Rejoin(h));
        }
    }
    for agent in 0..to.agents {
        agent_actions(world, to, h, agent, room, actions);
    }
}

fn agent_actions(
    world: &World,
    to: &Configuration,
    h: usize,
    agent: usize,
    room: bool,
    actions: &mut Vec<Action>,
) {
    let host = &world.hosts[h];
    let claim = world.registry.claims[agent];
    match host.agents[agent] {
        Holding::Nothing if claim.epoch == 0 => {
            claim_actions(world, to, h, agent, Action::Create(h, agent), room, actions);
        }
        Holding::Held(epoch) if epoch == claim.epoch => {
            claim_actions(world, to, h, agent, Action::Restart(h, agent), room, actions);
        }
        Holding::Nothing => {
            let free = claim.lease.is_none_or(|of| world.registry.lease(of) == Lease::Buried);
            if free || to.rules.has(Flaw::AdoptionFromTheLiving) {
                claim_actions(world, to, h, agent, Action::Adopt(h, agent), room, actions);
            }
        }
        Holding::Granted(_) => {
            actions.push(Action::HearGrant(h, agent));
            if to.rules.has(Flaw::GrantForgotten) {
                actions.push(Action::LoseGrant(h, agent));
            }
        }
        Holding::Running(_) => {
            if to.hand_overs && host.reaches_registry() {
                actions.push(Action::HandOver(h, agent));
            }
            if to.writes && room {
                actions.push(Action::BeginWrite(h, agent));
            }
        }
        Holding::Held(_) => {}
    }
}

fn claim_actions(
    world: &World,
    to: &Configuration,
    h: usize,
    agent: usize,
    claim: Action,
    room: bool,
    actions: &mut Vec<Action>,
) {
    let host = &world.hosts[h];
    if !host.reaches_registry() || host.tenure == 0 {
        return;
    }
    actions.push(claim);
    let asked = world.messages.iter().flatten().any(
        |m| matches!(m, Message::Claim { lease, agent: of, .. } if *lease == host.lease && *of == agent),
    );
    if room && to.faults.late_claims && !asked {
        actions.push(Action::BeginClaim(h, agent));
    }
}

fn message_actions(world: &World, to: &Configuration, place: usize, actions: &mut Vec<Action>) {
    let Some(message) = world.messages[place] else { return };
    actions.push(Action::Lose(place));
    match message {
        Message::Renew { .. } | Message::Claim { .. } | Message::Write { .. } => {
            actions.push(Action::Arrive(place));
        }
        Message::Renewed { lease, .. } => {
            if world.hosts[lease.host()].acts() {
                actions.push(Action::Hear(place));
            }
        }
        Message::Promises { lease, council, given, heard, .. } => {
            for (p, member) in world.hosts.iter().enumerate() {
                let new = council.contains(member.lease)
                    && !given.contains(member.lease)
                    && !heard.contains(member.lease);
                if new && member.would_promise(lease, to.rules) {
                    actions.push(Action::Give(place, p));
                }
            }
            if world.hosts[lease.host()].acts() {
                let given = LeaseId::all().filter(|&member| given.contains(member));
                actions.extend(given.map(|member| Action::HearPromise(place, member)));
            }
        }
        Message::Burial { lease, votes, .. } => {
            for (p, member) in world.hosts.iter().enumerate() {
                if !votes.contains(member.lease) && member.would_vote(lease, to.rules) {
                    actions.push(Action::Vote(place, p));
                }
            }
            if world.registry.votes_suffice(lease, votes, to.rules) {
                actions.push(Action::Arrive(place));
            }
        }
    }
}

/// Whether a host that can't renew asks for promises, when it has had tenure for more than
/// `ticks` more. One that runs nothing need not: its tenure protects nothing.
fn asks_promises(host: &Host, to: &Configuration, ticks: u8) -> bool {
    host.acts() && !host.is_idle() && (host.tenure > ticks || to.rules.has(Flaw::TenureComesBack))
}

/// The members that would promise to this host, if it asked, and can be reached.
fn willing(world: &World, to: &Configuration, h: usize, ticks: u8) -> Leases {
    let holder = &world.hosts[h];
    let member = |p: &usize| {
        let member = &world.hosts[*p];
        *p != h
            && asks_promises(holder, to, ticks)
            && world.together(h, *p)
            && holder.view.contains(member.lease)
            && member.would_promise(holder.lease, to.rules)
    };
    (0..HOSTS).filter(member).map(|p| world.hosts[p].lease).collect()
}

/// The lease that a host process which starts registers under.
fn start_lease(world: &World, to: &Configuration, h: usize) -> Option<LeaseId> {
    let before = world.hosts[h].lease;
    if to.rules.has(Flaw::RestartedMemberKeepsIdentity) {
        return world.registry.lease(before).is_live().then_some(before);
    }
    if world.registrations_left == 0 {
        return None;
    }
    if world.registry.lease(before) == Lease::Unused { Some(before) } else { before.next() }
}

/// What a world becomes. None if nothing changes.
pub fn step(before: &World, to: &Configuration, action: Action) -> Option<World> {
    let mut world = before.clone();
    let w = &mut world;
    match action {
        Action::RegistryTicks => {
            w.clocks.tick(Clocks::REGISTRY, before.resting(to));
            w.registry.tick();
            for place in &mut w.messages {
                if let Some(Message::Burial { age, .. }) = place {
                    *age = age.saturating_add(1);
                    if to.rules.has(Flaw::VotesOutliveThemselves) {
                        *age = 0;
                    } else if !Registry::in_time(*age, to.rules) {
                        *place = None;
                    }
                }
            }
        }
        Action::HostTicks(h, fate) => host_ticks(w, to, h, fate),

        Action::Cut(h) => {
            w.faults_left -= 1;
            w.hosts[h].cut = true;
        }
        Action::Outage => {
            w.faults_left -= 1;
            w.hosts.iter_mut().filter(|host| host.up).for_each(|host| host.cut = true);
        }
        Action::Mend(h) => w.hosts[h].cut = false,
        Action::Part(h) => {
            w.faults_left -= 1;
            w.apart[h] = true;
        }
        Action::Join(h) => w.apart[h] = false,
        Action::Pause(h) => {
            w.faults_left -= 1;
            w.hosts[h].paused = true;
        }
        Action::Resume(h) => {
            w.hosts[h].paused = false;
            w.hosts[h].fence(to.rules);
        }
        Action::Crash(h) => {
            w.faults_left -= 1;
            w.hosts[h].crash();
            forget_exchanges(w, h);
        }
        Action::Reap(h) => w.hosts[h].reap(),
        Action::Start(h) => {
            let lease = start_lease(w, to, h)?;
            let host = &mut w.hosts[h];
            host.up = true;
            if lease == host.lease && w.registry.lease(lease).is_live() {
                host.tenure = to.rules.tenure();
                let said = offered(w, lease);
                w.hosts[h].view = w.registry.renew(lease, said, to.rules)?;
                // Its records tell it what it ran.
                for (agent, claim) in w.registry.claims.iter().enumerate() {
                    if claim.lease == Some(lease) {
                        w.hosts[h].agents[agent] = Holding::Held(claim.epoch);
                    }
                }
            } else {
                register(w, to, h, lease);
            }
        }
        Action::Rejoin(h) => {
            let lease = w.hosts[h].lease.next()?;
            forget_exchanges(w, h);
            for agent in &mut w.hosts[h].agents {
                if let Holding::Granted(epoch) = *agent
                    && !to.rules.has(Flaw::OldGrantStarts)
                {
                    *agent = Holding::Held(epoch);
                }
            }
            register(w, to, h, lease);
        }
        Action::BuryPredecessor(_, lease) | Action::Bury(lease) => bury(w, lease),

        Action::BeginBurial(lease) => send(w, Message::Burial { lease, age: 0, votes: Leases::default() }),

        Action::Create(h, agent) | Action::Restart(h, agent) => {
            grant(w, h, agent, false)?;
            start(w, to, h, agent);
        }
        Action::Adopt(h, agent) => {
            grant(w, h, agent, !to.rules.has(Flaw::AdoptionFromTheLiving))?;
            start(w, to, h, agent);
        }
        Action::BeginClaim(h, agent) => {
            let known = w.registry.claims[agent].epoch;
            let adoption = known > 0 && w.hosts[h].agents[agent] == Holding::Nothing;
            let adoption = adoption && !to.rules.has(Flaw::AdoptionFromTheLiving);
            send(w, Message::Claim { lease: w.hosts[h].lease, agent, known, adoption });
        }
        Action::HearGrant(h, agent) => start(w, to, h, agent),
        Action::LoseGrant(h, agent) => w.hosts[h].agents[agent] = Holding::Nothing,
        Action::HandOver(h, agent) => {
            let epoch = w.hosts[h].agents[agent].epoch()?;
            if !to.rules.has(Flaw::ReleasedBeforeItsEnd) {
                w.hosts[h].agents[agent] = Holding::Nothing;
            }
            w.registry.release(agent, epoch);
        }
        Action::BeginWrite(h, agent) => {
            let epoch = w.hosts[h].agents[agent].epoch()?;
            send(w, Message::Write { agent, epoch });
        }

        Action::Arrive(place) => {
            let message = w.messages[place].take()?;
            arrive(w, to, place, message);
        }
        Action::Hear(place) => {
            let Some(Message::Renewed { lease, view, age }) = w.messages[place].take() else { return None };
            let age = if to.rules.has(Flaw::TenureFromAnswer) { 0 } else { age };
            let host = &mut w.hosts[lease.host()];
            host.tenure = host.tenure.max(to.rules.tenure() - age);
            host.view = view;
        }
        Action::Give(place, p) => {
            let Some(Message::Promises { lease, given, .. }) = &mut w.messages[place] else { return None };
            *given = given.with(w.hosts[p].lease);
            w.hosts[p].promise(*lease, to.rules);
        }
        Action::HearPromise(place, member) => hear_promise(w, to, place, member)?,
        Action::Vote(place, p) => {
            let Some(Message::Burial { lease, votes, .. }) = &mut w.messages[place] else { return None };
            *votes = votes.with(w.hosts[p].lease);
            w.hosts[p].vote(*lease, to.rules);
        }
        Action::Lose(place) => w.messages[place] = None,
    }
    Some(world.settled(to))
}

/// The view that the registry answered with last.
fn offered(w: &World, lease: LeaseId) -> Leases {
    match w.registry.lease(lease) {
        Lease::Live { offered, .. } => offered,
        _ => Leases::default(),
    }
}

/// A message takes its time, which counts as a fault.
fn send(w: &mut World, message: Message) {
    w.faults_left -= 1;
    if let Some(free) = w.messages.iter_mut().find(|place| place.is_none()) {
        *free = Some(message);
    }
}

/// The host process waits for no answer any more.
fn forget_exchanges(w: &mut World, h: usize) {
    for place in &mut w.messages {
        match place {
            Some(Message::Renew { lease, age, .. }) if lease.host() == h => *age = None,
            Some(Message::Renewed { lease, .. } | Message::Promises { lease, .. }) if lease.host() == h => {
                *place = None;
            }
            _ => {}
        }
    }
}

fn host_ticks(w: &mut World, to: &Configuration, h: usize, fate: Fate) {
    let resting = w.resting(to);
    w.clocks.tick(h, resting);
    w.hosts[h].tick(to.rules);
    let own = w.hosts[h].lease;
    for place in &mut w.messages {
        match place {
            Some(Message::Renew { lease, age, .. }) if *lease == own => {
                *age = age.map(|age| age + 1).filter(|age| *age < to.rules.tenure());
            }
            Some(Message::Renewed { lease, age, .. } | Message::Promises { lease, age, .. })
                if *lease == own =>
            {
                *age += 1;
                if *age >= to.rules.tenure() {
                    *place = None;
                }
            }
            _ => {}
        }
    }
    if w.hosts[h].reaches_registry() && w.registry.lease(own).is_live() {
        let said = w.hosts[h].view;
        match fate {
            Fate::Late => {
                give_up_renewals(w, own);
                send(w, Message::Renew { lease: own, said, age: Some(0) });
            }
            Fate::AnswerLost => {
                w.faults_left -= 1;
                carry_out_renewal(w, to, own, said);
            }
            Fate::Lost => w.faults_left -= 1,
            Fate::Heard | Fate::HeardBy(_) => renew(w, to, h),
        }
    } else if asks_promises(&w.hosts[h], to, 0) {
        ask_promises(w, to, h, fate);
    }
}

/// A host asks its council for promises.
fn ask_promises(w: &mut World, to: &Configuration, h: usize, fate: Fate) {
    let (lease, council) = (w.hosts[h].lease, w.hosts[h].view);
    let none = Leases::default();
    let willing = willing(w, to, h, 0);
    let asked = match fate {
        Fate::Heard | Fate::AnswerLost => willing,
        Fate::HeardBy(p) => willing.and(none.with(w.hosts[p].lease)),
        Fate::Lost => none,
        Fate::Late => {
            for place in &mut w.messages {
                if matches!(place, Some(Message::Promises { lease: of, .. }) if *of == lease) {
                    *place = None;
                }
            }
            return send(w, Message::Promises { lease, council, age: 0, given: none, heard: none });
        }
    };
    if fate != Fate::Heard {
        w.faults_left -= 1;
    }
    for member in w.hosts.iter_mut().filter(|member| asked.contains(member.lease)) {
        member.promise(lease, to.rules);
    }
    if fate != Fate::AnswerLost && 1 + asked.len() >= council.promises_needed(to.rules) {
        w.hosts[h].tenure = to.rules.tenure();
    }
}

/// A host renews, and has its answer at once.
fn renew(w: &mut World, to: &Configuration, h: usize) {
    let lease = w.hosts[h].lease;
    give_up_renewals(w, lease);
    if let Some(view) = carry_out_renewal(w, to, lease, w.hosts[h].view) {
        w.hosts[h].view = view;
        w.hosts[h].tenure = to.rules.tenure();
    }
}

/// A host that asks again waits no longer for what it asked before.
fn give_up_renewals(w: &mut World, of: LeaseId) {
    for place in &mut w.messages {
        match place {
            Some(Message::Renew { lease, age, .. }) if *lease == of => *age = None,
            Some(Message::Renewed { lease, .. }) if *lease == of => *place = None,
            _ => {}
        }
    }
}

/// The registry renews a lease. Burials of it that are under way will be refused, since
/// its end is another.
fn carry_out_renewal(w: &mut World, to: &Configuration, of: LeaseId, said: Leases) -> Option<Leases> {
    let view = w.registry.renew(of, said, to.rules)?;
    for place in &mut w.messages {
        if matches!(place, Some(Message::Burial { lease, .. }) if *lease == of) {
            *place = None;
        }
    }
    Some(view)
}

/// A host registers under a lease, as a member that has promised nothing to anybody.
fn register(w: &mut World, to: &Configuration, h: usize, lease: LeaseId) {
    w.registrations_left -= 1;
    let view = w.registry.register(lease, to.rules);
    let host = &mut w.hosts[h];
    host.lease = lease;
    host.view = view;
    host.tenure = to.rules.tenure();
    host.pledges = Default::default();
}

fn bury(w: &mut World, lease: LeaseId) {
    w.registry.bury(lease);
    for place in &mut w.messages {
        if matches!(place, Some(Message::Burial { lease: of, .. } | Message::Renew { lease: of, .. }) if *of == lease)
        {
            *place = None;
        }
    }
}

/// The registry grants a claim to a host, which does not know yet.
fn grant(w: &mut World, h: usize, agent: usize, adoption: bool) -> Option<()> {
    let known = w.registry.claims[agent].epoch;
    let epoch = w.registry.claim(agent, w.hosts[h].lease, known, adoption)?;
    w.hosts[h].agents[agent] = Holding::Granted(epoch);
    Some(())
}

/// A host hears that its claim was granted, and starts the process if it has tenure. The
/// fence sees to that at the very moment: see A2.
fn start(w: &mut World, to: &Configuration, h: usize, agent: usize) {
    let host = &mut w.hosts[h];
    let Holding::Granted(epoch) = host.agents[agent] else { return };
    if host.tenure == 0 {
        host.agents[agent] = Holding::Held(epoch);
        return;
    }
    host.agents[agent] = Holding::Running(epoch);
    w.epoch_did_not_grow |= epoch <= w.started[agent];
    w.started[agent] = w.started[agent].max(epoch);
    host.fence(to.rules);
}

fn arrive(w: &mut World, to: &Configuration, place: usize, message: Message) {
    match message {
        Message::Renew { lease, said, age } => {
            let answer = carry_out_renewal(w, to, lease, said);
            if let (Some(view), Some(age)) = (answer, age) {
                w.messages[place] = Some(Message::Renewed { lease, view, age });
            }
        }
        Message::Burial { lease, .. } => bury(w, lease),
        Message::Claim { lease, agent, known, adoption } => {
            let Some(epoch) = w.registry.claim(agent, lease, known, adoption) else { return };
            let host = &mut w.hosts[lease.host()];
            if host.up && host.lease == lease {
                host.agents[agent] = Holding::Granted(epoch);
            }
        }
        Message::Write { agent, epoch } => {
            let accepted = epoch == w.registry.claims[agent].epoch || to.rules.has(Flaw::WritesUnfenced);
            w.stale_write_accepted |= accepted && epoch < w.registry.claims[agent].epoch;
        }
        Message::Renewed { .. } | Message::Promises { .. } => {}
    }
}

/// A holder hears a promise. With a majority of the council its tenure lasts until the
/// first of them runs out, unless it was over before.
fn hear_promise(w: &mut World, to: &Configuration, place: usize, member: LeaseId) -> Option<()> {
    let Some(Message::Promises { lease, council, age, given, heard }) = &mut w.messages[place] else {
        return None;
    };
    *given = given.without(member);
    *heard = heard.with(member);
    if 1 + heard.len() >= council.promises_needed(to.rules) {
        let age = if to.rules.has(Flaw::TenureFromLastPromise) { 0 } else { *age };
        let host = &mut w.hosts[lease.host()];
        if host.tenure > 0 || to.rules.has(Flaw::TenureComesBack) {
            host.tenure = host.tenure.max(to.rules.tenure() - age);
        }
        w.messages[place] = None;
    }
    Some(())
}

const _: () = assert!(AGENTS == 2, "World::representative names two agents");
