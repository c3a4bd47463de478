/** The slab of places: what the list of a shared table is made of. */
import type { Slab } from "../../slab.ts";
import { OWNER_SLAB } from "../../zone.ts";
import type { SharingParts } from "./table-sharing.ts";

/** A place: a link to the next, whose it is, and where. */
const WORDS_OF_A_PLACE = 3;

export const createPlaces = ({ slabs, wordBytes }: SharingParts): Slab =>
  slabs.create("mm_chain", WORDS_OF_A_PLACE * wordBytes, OWNER_SLAB);
