//! The front door over HTTP, on the embedded engines.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod back_office;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod error_shapes;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod google;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod large;
#[cfg(test)]
mod people;
#[cfg(test)]
mod readiness;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod shutdown;
