-- place: reserve the best worker for each of n jobs of one class.
-- The lease that it writes is the reservation; the worker's score rises at once, in all its sets.
-- KEYS  1 load zset   2 turn counter
-- ARGV  1 prefix of the lease hashes   2 prefix of the worker hashes   3 prefix of the eligible zsets
--       4 how many workers to look at beyond the excluded ones   5 how many wants   6 how many demands
--       then of each demand how many needs; of each need what a job takes of such a worker (slots, whole cards,
--       least MiB free on a card, MiB to reserve), how many zsets of such workers, and of each its name and what the
--       demand adds to the scores there;
--       then of each want: job, attempt, number of its demand, its own least MiB and MiB to reserve (the larger
--       counts), how many workers are excluded, and these
-- returns for each want {} when nobody has room; {'unsure'} when the only ones that have hold an older attempt of this
--   very job, or there were too many to look at; else
--   {worker, UUIDs with ',' between, MiB, 1 when the cards are whole, slots, score, load and parts, worker, score, …}:
--   score, load and parts as they were when it was chosen; the next best of those that were read, at most three, follow
-- It finds workers in the zsets and makes their keys from the prefixes: one Redis, not Redis Cluster.
local LOAD, TURN = KEYS[1], KEYS[2]
local LEASES, WORKERS, ELIGIBLE, LOOK_AT, WANTS = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local FIXED, RUNNERS_UP = 7, 3
local SLOTS, CARDS, LEAST, RESERVE = 1, 2, 3, 4 -- of a need
local FURTHER, STEP = 512, 4 -- so many are looked at beyond that in one call, of wants that ask for more than their sets

local heads = {} -- the heads of the zsets as far as they were read, while they are what Redis has
local unsure -- whether this want could not look everywhere
local turn -- of the latest of these wants; the counter moves once for all of them
local at = 6 -- in ARGV

local function number()
  at = at + 1
  return tonumber(ARGV[at])
end

local function word()
  at = at + 1
  return ARGV[at]
end

local function head(name, count)
  local found = heads[name]
  if not found or found.count < count then
    found = redis.call('ZRANGE', ELIGIBLE .. name, 0, count - 1, 'WITHSCORES')
    found.count, heads[name] = count, found
  end
  return found
end

local function forget_heads(room)
  for _, set in ipairs(room.sets) do heads[set[1]] = nil end
end

local function stands_in(room, name)
  for _, set in ipairs(room.sets) do
    if set[1] == name then return true end
  end
  return false
end

-- An older attempt of the same job whose processes may be left keeps its lease: the new one goes elsewhere, or waits.
local function occupied(leases, job)
  for i = 1, #leases, 2 do
    if leases[i] == job then return cjson.decode(leases[i + 1]).state ~= 'ended' end
  end
  return false
end

local function reserve(worker, job, attempt, need, mb, room, held, uuids)
  local whole = need[CARDS] > 0
  local lease = {attempt = attempt, state = 'given', slots = need[SLOTS], vram_mb = mb, incarnation = room.incarnation}
  if #uuids > 0 then lease.gpus = uuids end -- cjson would write an empty list as {}
  if whole then lease.whole = true end
  redis.call('HSET', LEASES .. worker, job, cjson.encode(lease))
  turn = (turn or redis.call('INCRBY', TURN, WANTS) - WANTS) + 1
  room.turn = turn
  local taken = held.cards
  if whole or mb > 0 then
    for _, uuid in ipairs(uuids) do taken[uuid] = {mb = (taken[uuid] and taken[uuid].mb or 0) + mb, whole = whole} end
  end
  held.slots, held.wide = held.slots + need[SLOTS], held.wide or need[SLOTS] > 1
  settle(worker, room, WORKERS .. worker, LOAD, ELIGIBLE, held)
  forget_heads(room)
end

local function give(worker, score, part, job, attempt, least, mb)
  local room, need = room_of(WORKERS .. worker), part.need
  if not room or not stands_in(room, part.name) then -- a stale leader's entry
    redis.call('ZREM', ELIGIBLE .. part.name, worker)
    heads[part.name] = nil
    return nil
  end
  local leases = redis.call('HGETALL', LEASES .. worker)
  if occupied(leases, job) then
    unsure = true
    return nil
  end
  local held = holdings(leases)
  local uuids = fits_slots(room, held, need[SLOTS]) and cards_for(room, held.cards, need[CARDS], math.max(need[LEAST], least))
  if not uuids then
    if least <= need[LEAST] then -- it stands in the set and has no room: put it right
      settle(worker, room, WORKERS .. worker, LOAD, ELIGIBLE, held)
      forget_heads(room)
    end
    return nil
  end
  mb = need[CARDS] > 0 and 0 or math.max(need[RESERVE], mb)
  reserve(worker, job, attempt, need, mb, room, held, uuids)
  return {worker, table.concat(uuids, ','), mb, need[CARDS] > 0 and 1 or 0, need[SLOTS], string.format('%.17g', score), room.parts}
end

-- The best of the heads from these places on: worker, score, and which part it stands in.
local function nearest(demand, lists, places)
  local best, lowest
  for i, part in ipairs(demand) do
    local score = lists[i][places[i] + 1]
    if score then
      score = tonumber(score) + part.offset
      if not best or score < lowest then best, lowest = i, score end
    end
  end
  if not best then return nil end
  places[best] = places[best] + 2
  return lists[best][places[best] - 2], lowest, demand[best]
end

-- Of each zset so many, `count` in all. Returns the answer, and whether there are more to look at.
local function choose(demand, job, attempt, least, mb, excluded, each, count)
  local answer, more, lists, places = nil, false, {}, {}
  for i, part in ipairs(demand) do
    lists[i], places[i] = head(part.name, each), 1
    more = more or #lists[i] >= 2 * each
  end
  for _ = 1, count do
    local worker, score, part = nearest(demand, lists, places)
    if not worker then break end
    if answer and not excluded[worker] then
      answer[#answer + 1], answer[#answer + 2] = worker, string.format('%.17g', score)
      if #answer == FIXED + 2 * RUNNERS_UP then break end
    elseif not excluded[worker] then
      excluded[worker] = true
      answer = give(worker, score, part, job, attempt, least, mb)
    end
  end
  for i, list in ipairs(lists) do more = more or places[i] <= #list end
  return answer, more
end

-- Who stands in the sets has their least; whether this want asks for more than that in any of them.
local function asks_more(demand, least)
  for _, part in ipairs(demand) do
    if least > part.need[LEAST] then return true end
  end
  return false
end

local demands = {}
for i = 1, tonumber(ARGV[6]) do
  local parts = {}
  for _ = 1, number() do
    local need = {number(), number(), number(), number()}
    for _ = 1, number() do parts[#parts + 1] = {name = word(), offset = number(), need = need} end
  end
  demands[i] = parts
end

local answers, further = {}, FURTHER
for i = 1, WANTS do
  local job, attempt, parts, least, mb, others, excluded = word(), number(), demands[number()], number(), number(), number(), {}
  for _ = 1, others do excluded[word()] = true end
  local few, many = math.ceil((1 + RUNNERS_UP) / math.max(1, #parts)), others + LOOK_AT
  unsure = false
  local answer, more = choose(parts, job, attempt, least, mb, excluded, few, 1 + RUNNERS_UP)
  if not answer and more then answer, more = choose(parts, job, attempt, least, mb, excluded, many, many) end
  while not answer and more and further > 0 and asks_more(parts, least) do
    local wider = math.min(STEP * many, many + further)
    further, many = further - (wider - many), wider
    answer, more = choose(parts, job, attempt, least, mb, excluded, many, many)
  end
  answers[i] = answer or (unsure or more) and {'unsure'} or {}
end
return answers
