// The version of the messages between processes. A peer that speaks another one is refused, loudly, before anything is read.

export const wireVersion = 1;
