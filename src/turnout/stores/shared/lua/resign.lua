-- A gateway that ends gives back what it does not hold. ARGV: purse, lease in us, purse's life in ms, gateway.
local gateway = ARGV[4]
local purse = read_purse(tonumber(ARGV[2]), ARGV[3])
local part = purse.living[gateway]
if not part then
  return 0
end
part.limit = part.spent + part.held
if part.held == 0 then
  bury(purse, gateway)
end
keep(purse, gateway)
return 1
