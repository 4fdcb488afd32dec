//! Doors, budgets and the flag between them.

use proptest::prelude::*;

use super::*;

fn budget(memory: usize, files: usize) -> Arc<Admission> {
    Admission::new(Budget { memory, files }, 1)
}

fn listener(max_connections: usize, each: Option<usize>) -> Listener {
    let mut listener = Listener::at("public", ([127, 0, 0, 1], 0).into());
    listener.max_connections = max_connections;
    listener.max_connections_per_address = each;
    listener
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A connection of this address, if it is let in.
fn connect(door: &Door, from: &str) -> Result<Entered, Refused> {
    let mut entered = door.enter()?;
    entered.belongs_to(address(from))?;
    Ok(entered)
}

#[test]
fn a_listener_has_so_many_connections_and_one_that_goes_makes_room() {
    let door = budget(1 << 20, 100).door(&listener(2, None));
    let first = door.enter().unwrap();
    let _second = door.enter().unwrap();
    assert_eq!(door.enter().err(), Some(Refused::Listener));
    drop(first);
    let _third = door.enter().unwrap();
    assert_eq!((door.open(), door.refused(Refused::Listener), door.refused(Refused::Address)), (2, 1, 0));
}

#[test]
fn an_address_has_so_many_connections_whatever_others_have() {
    let admission = budget(1 << 20, 100);
    let door = admission.door(&listener(100, Some(2)));
    let first = connect(&door, "192.0.2.7").unwrap();
    let _second = connect(&door, "::ffff:192.0.2.7").unwrap();
    assert_eq!(connect(&door, "192.0.2.7").err(), Some(Refused::Address));
    let _other = connect(&door, "192.0.2.8").unwrap();
    // Whoever was refused has left again.
    assert_eq!((door.open(), door.addresses(), admission.files().used), (3, 2, 3));
    drop(first);
    let third = connect(&door, "192.0.2.7").unwrap();
    drop(third);
    assert_eq!((door.open(), door.refused(Refused::Address)), (2, 1));
}

#[test]
fn an_ipv6_client_is_its_network_of_64_bits() {
    let door = budget(1 << 20, 100).door(&listener(100, Some(1)));
    let _first = connect(&door, "2001:db8:1:2::1").unwrap();
    assert_eq!(connect(&door, "2001:db8:1:2:3:4:5:6").err(), Some(Refused::Address));
    let _other = connect(&door, "2001:db8:1:3::1").unwrap();
}

#[test]
fn a_connection_counts_for_the_address_that_is_found_last() {
    let door = budget(1 << 20, 100).door(&listener(100, Some(1)));
    let mut one = connect(&door, "10.0.0.1").unwrap();
    one.belongs_to(address("192.0.2.7")).unwrap();
    let _balancer = connect(&door, "10.0.0.1").unwrap();
    assert_eq!(connect(&door, "192.0.2.7").err(), Some(Refused::Address));
    drop(one);
    assert_eq!(door.addresses(), 1);
}

#[test]
fn the_table_of_addresses_is_empty_when_everyone_has_gone() {
    let door = budget(1 << 20, 1_000).door(&listener(1_000, Some(3)));
    let connections: Vec<_> = (0..200).map(|at| connect(&door, &format!("192.0.2.{}", at % 100)).unwrap()).collect();
    assert_eq!((door.open(), door.addresses()), (200, 100));
    drop(connections);
    assert_eq!((door.open(), door.addresses()), (0, 0));
}

#[test]
fn near_the_end_of_the_files_requests_are_shed_and_at_it_connections_are_refused() {
    let admission = budget(1 << 20, 100);
    let door = admission.door(&listener(1_000, None));
    let mut open: Vec<Entered> = (0..94).map(|_| door.enter().unwrap()).collect();
    assert_eq!(admission.shed(), None);
    let upstream = admission.file().unwrap();
    assert_eq!(admission.shed(), Some(Scarce::Files));
    open.extend((0..5).map(|_| door.enter().unwrap()));
    assert_eq!(door.enter().err(), Some(Refused::Files));
    assert_eq!(admission.file().err(), Some(Refused::Files));
    // It ends only when there is room again for more than the next.
    open.truncate(84);
    assert_eq!((admission.files().used, admission.shed()), (85, Some(Scarce::Files)));
    drop(upstream);
    assert_eq!(admission.shed(), None);
}

#[test]
fn near_the_end_of_the_memory_requests_are_shed_and_what_is_held_may_grow() {
    let admission = budget(100 << 20, 100);
    let account = admission.account();
    let mut held = account.charge(90 << 20);
    assert_eq!(admission.shed(), None);
    held.set(96 << 20);
    assert_eq!(admission.shed(), Some(Scarce::Memory));
    held.set(200 << 20);
    held.set(86 << 20);
    assert_eq!(admission.shed(), Some(Scarce::Memory));
    held.set(80 << 20);
    assert_eq!(admission.shed(), None);
    drop(held);
    assert_eq!((account.used(), admission.memory().used <= SLICES), (0, true));
    drop(account);
    assert_eq!(admission.memory().used, 0);
}

/// What a worker may keep unused.
const SLICES: usize = 2 * 64 * 1024;

#[test]
fn memory_may_end_on_another_thread_than_it_was_taken_on() {
    let admission = budget(100 << 20, 100);
    let mut held = admission.memory_for(1_000);
    held.grow(3_000);
    held.grow(2_000);
    assert_eq!(admission.memory().used, 3_000);
    std::thread::spawn(move || drop(held)).join().unwrap();
    assert_eq!(admission.memory().used, 0);
}

#[test]
fn a_budget_can_be_changed_while_it_is_used() {
    let admission = budget(100 << 20, 100);
    let account = admission.account();
    let _held = account.charge(50 << 20);
    admission.set(Budget { memory: 50 << 20, files: 100 });
    assert_eq!(admission.shed(), Some(Scarce::Memory));
    admission.set(Budget { memory: 200 << 20, files: 100 });
    assert_eq!(admission.shed(), None);
}

#[test]
fn many_small_charges_ask_the_shared_count_seldom() {
    let admission = budget(1 << 30, 100);
    let account = admission.account();
    let _ground = account.charge(10_000);
    let before = admission.memory();
    for _ in 0..1_000 {
        let charge = account.charge(16 * 1024);
        assert_eq!(charge.bytes(), 16 * 1024);
    }
    assert_eq!(admission.memory(), before, "the slice that was taken is enough for all of them");
}

#[test]
fn what_all_workers_hold_unused_is_a_small_part_of_the_budget() {
    for (budget, workers) in [(16 << 20, 1), (16 << 20, 128), (1 << 30, 2), (1 << 40, 512)] {
        let unused = 2 * account::slice(budget, workers) * workers;
        assert!(unused <= budget / 16, "{workers} workers hold {unused} of {budget}");
    }
}

#[test]
fn threads_that_take_and_give_at_a_time_leave_nothing_behind() {
    let admission = budget(1 << 20, 40);
    let door = admission.door(&listener(30, Some(8)));
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (admission, door) = (&admission, &door);
            scope.spawn(move || {
                let account = admission.account();
                for turn in 0..400_usize {
                    let held: Vec<_> = (0..turn % 16)
                        .filter_map(|at| connect(door, &format!("192.0.2.{}", (at + usize::from(thread)) % 4)).ok())
                        .collect();
                    let charges: Vec<_> = held.iter().map(|_| account.charge(turn * 500)).collect();
                    assert!(door.open() <= 30 && admission.files().used <= 40);
                    drop((held, charges));
                }
            });
        }
    });
    assert_eq!((door.open(), door.addresses()), (0, 0));
    assert_eq!((admission.files(), admission.memory()), (quiet(40), quiet(1 << 20)));
}

fn quiet(limit: usize) -> Level {
    Level { used: 0, limit, scarce: false }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_flag_follows_what_is_used(steps in prop::collection::vec(0..130_usize, 1..40)) {
        let admission = budget(1 << 20, 1 << 20);
        let files = &admission.files;
        files.set(100);
        let (mut used, mut scarce) = (0, false);
        for target in steps {
            if target > used { files.take(target - used) } else { files.give(used - target) }
            used = target;
            scarce = if scarce { used >= 85 } else { used >= 95 };
            prop_assert_eq!(files.level(), Level { used, limit: 100, scarce });
        }
    }

    #[test]
    fn an_account_owes_what_is_held_and_two_slices_more_at_most(sizes in prop::collection::vec(0..300_000_usize, 1..60)) {
        let admission = budget(1 << 30, 100);
        let account = admission.account();
        let mut charges = Vec::new();
        for (index, size) in sizes.iter().enumerate() {
            match index % 3 {
                0 => charges.push(account.charge(*size)),
                1 => if let Some(charge) = charges.last_mut() { charge.set(*size) },
                _ => drop(charges.pop().filter(|_| size % 2 == 0).map(|charge| charges.insert(0, charge))),
            }
            let held: usize = charges.iter().map(Charge::bytes).sum();
            prop_assert_eq!(account.used(), held);
            let owed = admission.memory().used;
            prop_assert!(held <= owed && owed <= held + SLICES, "{} held, {} owed", held, owed);
        }
    }
}
