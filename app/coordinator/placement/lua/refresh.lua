-- refresh: give a worker new figures and put it into the sets that they name, and into no other.
-- KEYS  1 lease hash   2 worker hash   3 load zset
-- ARGV  1 worker   2 prefix of the eligible zsets   3 its room as JSON; '' takes it out of everything
-- returns 1
local old = room_of(KEYS[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'room', ARGV[3]) end
local room = ARGV[3] ~= '' and room_of(KEYS[2])
local stays = {}
for _, set in ipairs(room and room.sets or {}) do stays[set[1]] = true end
for _, set in ipairs(old and old.sets or {}) do
  if not stays[set[1]] then redis.call('ZREM', ARGV[2] .. set[1], ARGV[1]) end
end
if room then
  settle(ARGV[1], room, KEYS[2], KEYS[3], ARGV[2], holdings(redis.call('HGETALL', KEYS[1])))
else
  redis.call('HDEL', KEYS[2], 'room')
  redis.call('ZREM', KEYS[3], ARGV[1])
end
return 1
