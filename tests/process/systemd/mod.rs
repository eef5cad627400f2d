//! Services of a real systemd: started, stopped, killed and watched by it.

mod delivery;
mod examples;
mod life_cycle;
mod machine;
mod mistakes;
mod out_of_memory;
mod store;
