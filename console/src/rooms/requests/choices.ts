/** A change of an alias that was asked for: what it is in words, and what a key may do about it. */

import type { AliasRequest, CallerInfo } from "../../api/types";

export interface Choices {
  mayApprove: boolean;
  mayRefuse: boolean;
  /** Whoever asked takes it back, which is no refusal. */
  isOwn: boolean;
  /** Why it cannot be approved with this key; null where it can. */
  hindrance: string | null;
}

/** What the server would allow: another administrator approves, an administrator refuses, whoever asked withdraws. */
export function choicesOf(request: AliasRequest, caller: CallerInfo): Choices {
  const isOwn = request.requested_by === caller.id;
  const isAdmin = caller.scopes.includes("admin");
  const hindrance = caller.id === "local" ? "This server asks for no keys, so nobody can be told from who asked."
    : isOwn ? "You asked for it. Another administrator's key approves it."
    : isAdmin ? null
    : "A key with the scope admin approves it.";
  return { mayApprove: hindrance === null, mayRefuse: isOwn || isAdmin, isOwn, hindrance };
}

/** What would become different besides where it points, a sentence each. */
export function changesOf(request: AliasRequest): string[] {
  const changes: string[] = [];
  if (request.protected !== null) changes.push(request.protected ? "Only administrators move it from then on." : "It is protected no longer.");
  if (request.approval !== null) changes.push(request.approval ? "Each later change needs another key's approval." : "Later changes need no approval.");
  return changes;
}

/** `production: v1 → v2`, or what is asked of an alias that stays. */
export const titleOf = ({ alias, expected, version }: AliasRequest): string =>
  version !== null && version !== expected ? `${alias}: ${expected} → ${version}` : `${alias}, which stays at ${expected}`;

/** "ada's notebook (emk_…)", or the id alone. */
export const who = (label: string | null, id: string | null): string => (label ? `${label} (${id})` : (id ?? ""));
