-- settle: what the other scripts share; it is loaded in front of each of them and does nothing alone.
-- A worker's hash has, beside what others read of it:
--   room   JSON that Python computes (placement/headroom.py):
--     incarnation  of the worker, for leases that are written for it
--     slots        jobs that it runs at a time       capacity  these and the places behind them
--     weights      of the load's parts [gpu, queue, vram]; 0 for a part that no worker has
--     gpu          share in use; with gpu_mean it is that of other workers; absent where no worker has it
--     vram         share in use of other workers, where it is not measured here
--     reserve      MiB of each card that no job gets
--     cards        [[uuid, its MiB (0: not known), MiB in use by others, by our jobs, MiB that others may have in use
--                  where a job is to have it for itself], …]; of those by our jobs
--                  -1: those of both are in the one before, -2: nobody measured them
--     sets         [[name, slots, cards, least MiB, order, offset], …]: the eligible zsets that it may stand in,
--                  and the need for which each stands
--   state  'turn load gpu queue vram': the counter's value when it last received a job; its load as last computed,
--          and the parts of that: '~' behind one that is other workers' mean, '-' for one that no worker has
-- A need is: so many slots, and so many whole cards, or a share of one; each with at least so many MiB free.
-- Held and reserved are counted from the leases themselves, so no counter can drift from them.
local RANK = {given = 1, claimed = 2, revoked = 3, ended = 4}
local QUEUED = {load = 1e9, turn = 2 ^ 52} -- added for a mere place behind the slots: after all that can start it
local LATER, TURNS = 0.001, 2 ^ 20 -- of equals who received a job longest ago comes first

-- What leases hold: slots, whether one of them holds several, and by card the MiB reserved and whether one has it for
-- itself.
local function holdings(leases)
  local slots, wide, taken = 0, false, {}
  for i = 2, #leases, 2 do
    local lease = cjson.decode(leases[i])
    if lease.state ~= 'ended' then
      slots, wide = slots + (lease.slots or 1), wide or (lease.slots or 1) > 1
      for _, uuid in ipairs((lease.whole or (lease.vram_mb or 0) > 0) and lease.gpus or {}) do
        local card = taken[uuid] or {mb = 0}
        taken[uuid] = {mb = card.mb + (lease.vram_mb or 0), whole = card.whole or lease.whole}
      end
    end
  end
  return {slots = slots, wide = wide, cards = taken}
end

-- A job of several slots leaves slot processes idle, which would begin what stands behind.
local function fits_slots(room, held, slots)
  local places = (held.wide or slots > 1) and room.slots or room.capacity
  return held.slots + slots <= places
end

local function others_on(card, on)
  return card[4] == -1 and math.max(0, card[3] - (on and on.mb or 0)) or card[3]
end

-- The UUIDs that such a need gets; empty when it needs none and there is none to see; nil when it has to wait.
-- A share goes where it leaves least, so that large jobs find large cards; a whole card is one that others use
-- least, of these the smallest; what takes no memory sees the card with most.
local function cards_for(room, taken, cards, least)
  local fitting = {}
  for _, card in ipairs(room.cards) do
    local on = taken[card[1]]
    local others = others_on(card, on)
    local free = (card[2] == 0 or card[4] == -2) and 0 or card[2] - others - room.reserve - (on and on.mb or 0)
    local mine = not on or (cards == 0 and not on.whole)
    if cards > 0 and card[5] and others > card[5] then mine = false end -- an older leader wrote none
    if mine and (least == 0 or free >= least) then fitting[#fitting + 1] = {card[1], cards > 0 and others or 0, free} end
  end
  if #fitting < cards or (least > 0 and #fitting == 0) then return nil end
  if #fitting > 1 then
    local most_first = cards == 0 and least == 0
    table.sort(fitting, function(a, b)
      if a[2] ~= b[2] then return a[2] < b[2] end
      if a[3] ~= b[3] then return (a[3] > b[3]) == most_first end
      return a[1] < b[1]
    end)
  end
  local chosen = {}
  for i = 1, math.min(#fitting, math.max(1, cards)) do chosen[i] = fitting[i][1] end
  return chosen
end

local function share(part, is_mean)
  return part and string.format(is_mean and '%.4f~' or '%.4f', part) or '-'
end

-- The load as scores go by (beyond 1 where jobs wait behind the slots), as it is shown (0 to 1), and with its parts.
local function load_of(room, held)
  local total, used, known = 0, 0, room.vram ~= nil
  for _, card in ipairs(room.cards) do
    local on = held.cards[card[1]]
    local ours = math.max(0, card[4], on and (on.whole and card[2] or on.mb) or 0)
    known = known or card[4] ~= -2
    if on or room.vram or card[4] ~= -2 then
      total = total + card[2]
      used = used + math.min(card[2], others_on(card, on) + ours)
    end
  end
  local vram = math.min(1, (room.vram or 0) + (total > 0 and used / total or 0))
  local queue, weights = held.slots / math.max(room.slots, 1), room.weights
  local rest = weights[1] * (room.gpu or 0) + weights[3] * vram
  local load = string.format('%.6f', rest + weights[2] * math.min(1, queue))
  local gpu_word = share(room.gpu, room.gpu_mean)
  local vram_word = share(known and vram or nil, room.vram)
  return rest + weights[2] * queue, load, table.concat({load, gpu_word, share(math.min(1, queue)), vram_word}, ' ')
end

local function settle(worker, room, worker_key, load_key, prefix, held)
  local raw, load, parts = load_of(room, held)
  redis.call('ZADD', load_key, load, worker)
  redis.call('HSET', worker_key, 'state', string.format('%.0f ', room.turn) .. parts)
  for _, set in ipairs(room.sets) do
    local name, slots, order = prefix .. set[1], set[2], set[5]
    if fits_slots(room, held, slots) and cards_for(room, held.cards, set[3], set[4]) then
      local score = order == 'turn' and room.turn or raw + LATER * (room.turn % TURNS) / TURNS
      if held.slots + slots > room.slots then score = score + QUEUED[order] end
      redis.call('ZADD', name, string.format('%.17g', score + set[6]), worker)
    else
      redis.call('ZREM', name, worker)
    end
  end
end

local function room_of(worker_key)
  local found = redis.call('HMGET', worker_key, 'room', 'state')
  if not found[1] then return nil end
  local room = cjson.decode(found[1])
  local turn, parts = string.match(found[2] or '', '^(%d+) (.*)')
  room.turn, room.parts = tonumber(turn) or 0, parts
  room.sets, room.cards = room.sets or {}, room.cards or {}
  return room
end
