#!/bin/bash
#SBATCH --partition=standard
#SBATCH --job-name=NAME-OF-THE-JOB
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=32
#SBATCH --cpus-per-task=1
#SBATCH --time=12:00:00
#SBATCH --account=matsci
#SBATCH --output=/scratch/me/mgsurf/FOLDER-OF-THE-JOB/queue.out
#SBATCH --error=/scratch/me/mgsurf/FOLDER-OF-THE-JOB/queue.err

cd /scratch/me/mgsurf/FOLDER-OF-THE-JOB
source ~/mgsurf/.venv/bin/activate
export OMP_NUM_THREADS=1
jf -fe execution run /scratch/me/mgsurf/FOLDER-OF-THE-JOB
